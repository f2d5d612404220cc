"""The estimators of the papers' detectors; the equations are beside the code, in the files of streamad/models.

The parameters that all of them have are described in `streamad.estimators.base.Estimator`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamad.estimators.base import Estimator
from streamad.estimators.parameters import Count, Hidden, Members, Number, Order, Share, Weight
from streamad.estimators.scaling import Kind


@dataclass(kw_only=True, eq=False, repr=False)
class AE(Estimator):
    """An autoencoder: the score is the squared error of its reconstruction, averaged over the features.

    Labeled anomalies are left out of the training. `norm`: whether the hidden layers have batch normalisation.
    """

    _detector: ClassVar[str] = "ae"
    norm: bool = False


@dataclass(kw_only=True, eq=False, repr=False)
class DAE(AE):
    """A denoising autoencoder (UaiNets: From Unsupervised to Active Deep Anomaly Detection, appendix A.1).

    It reconstructs rows that had noise added; scored are rows without. Labeled anomalies are left out of the
    training. `noise`: the standard deviation of the noise, in scaled features. `norm`: as in `AE`.
    """

    _detector: ClassVar[str] = "dae"
    noise: Weight = 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class AESAD(AE):
    """AE-SAD (Reconstruction Error-based Anomaly Detection with Few Outlying Examples, section 3).

    Labeled anomalies are reconstructed as their opposite, ``1 - x``, hence the scaling to [0, 1]. `alpha`: each of
    s of them weighs ``1 + alpha (n / s - 1)`` times one of the n other rows. `norm`: as in `AE`.
    """

    _detector: ClassVar[str] = "ae_sad"
    _labels: ClassVar[bool] = True
    hidden: Hidden = (128, 64, 32)
    scaling: Kind = "minmax"
    alpha: Weight = 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class DeepSVDD(Estimator):
    """Deep SVDD (Deep Semi-Supervised Anomaly Detection, equation 3): the score is the distance from a centre.

    Rows are drawn towards it; labeled anomalies are left out of the training. `nu`: 0 for one-class Deep SVDD,
    above it the share of rows that a soft boundary leaves outside. `pretraining` as an autoencoder: its length in
    times of `epochs`, 0 for none. `norm`: whether the hidden layers have batch normalisation.
    """

    _detector: ClassVar[str] = "deep_svdd"
    batch_size: Count = 200
    norm: bool = True
    pretraining: Weight = 1.0
    nu: Share = 0.0


@dataclass(kw_only=True, eq=False, repr=False)
class DeepSAD(Estimator):
    """Deep SAD (Deep Semi-Supervised Anomaly Detection, section 3.3): the score is the distance from a centre.

    Unlabeled and normal rows are drawn towards it, labeled anomalies pushed away; with no labels it is one-class
    Deep SVDD. `eta`: the weight of a labeled row, 1 being that of an unlabeled one. `pretraining` as an
    autoencoder: its length in times of `epochs`, 0 for none. `norm`: whether the hidden layers have batch
    normalisation.

    >>> import numpy as np
    >>> from streamad import DeepSAD
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(500, 4))
    >>> X[:10] += 4  # anomalies, of which three are known
    >>> y = np.full(500, -1)
    >>> y[:3] = 1
    >>> detector = DeepSAD(hidden=(16, 8), members=3, epochs=50, learning_rate=1e-3).fit(X, y)
    >>> scores = detector.decision_function(X)
    >>> sorted(scores.argsort()[-10:].tolist())  # the ten most anomalous rows
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    _detector: ClassVar[str] = "deep_sad"
    _labels: ClassVar[bool] = True
    batch_size: Count = 200
    norm: bool = True
    pretraining: Weight = 1.0
    eta: Weight = 1.0


@dataclass(kw_only=True, eq=False, repr=False)
class Supervised(Estimator):
    """A classifier of labeled anomalies against all other rows (Deep Semi-Supervised Anomaly Detection, appendix E).

    The paper's own baseline; the score is ``log(1 + odds)`` of an anomaly. `norm`: whether the hidden layers have
    batch normalisation.
    """

    _detector: ClassVar[str] = "supervised"
    _labels: ClassVar[bool] = True
    batch_size: Count = 200
    norm: bool = True


@dataclass(kw_only=True, eq=False, repr=False)
class VAE(Estimator):
    """A variational autoencoder (Deep Variational Semi-Supervised Novelty Detection, section 3.1).

    The score is the negative ELBO, its error averaged over the features. Labeled anomalies are left out of the
    training. `beta`: the weight of the KL term in training; `score_beta`: that in the score. `norm`: whether the
    hidden layers have batch normalisation.
    """

    _detector: ClassVar[str] = "vae"
    min_steps: Count = 600
    members: Members = 5
    norm: bool = False
    beta: Weight = 0.05
    score_beta: Weight = 0.05


@dataclass(kw_only=True, eq=False, repr=False)
class DPVAE(VAE):
    """DP-VAE (Deep Variational Semi-Supervised Novelty Detection, section 4.2).

    Labeled anomalies have a prior of their own. `alpha`: its mean in every latent dimension, that of all other
    rows being 0. `frozen`: whether they leave the decoder as it is. `beta`, `score_beta` and `norm`: as in `VAE`.
    """

    _detector: ClassVar[str] = "dp_vae"
    _labels: ClassVar[bool] = True
    alpha: Number = 10.0
    frozen: bool = True


@dataclass(kw_only=True, eq=False, repr=False)
class MMLVAE(VAE):
    """MML-VAE (Deep Variational Semi-Supervised Novelty Detection, section 4.1 and appendix A.4).

    The likelihood of labeled anomalies is lowered, by an upper bound of it, the CUBO. `gamma`: its weight;
    `beta_cubo`: its order, between 0 and 0.5. `beta`, `score_beta` and `norm`: as in `VAE`.
    """

    _detector: ClassVar[str] = "mml_vae"
    _labels: ClassVar[bool] = True
    gamma: Weight = 1.0
    beta_cubo: Order = 0.05


@dataclass(kw_only=True, eq=False, repr=False)
class MMLDPVAE(DPVAE):
    """MML-DP-VAE (Deep Variational Semi-Supervised Novelty Detection, section 5): `DPVAE` and `MMLVAE` at once.

    `alpha`: as in `DPVAE`; `gamma` and `beta_cubo`: as in `MMLVAE`; `beta`, `score_beta` and `norm`: as in `VAE`.
    """

    _detector: ClassVar[str] = "mml_dp_vae"
    gamma: Weight = 1.0
    beta_cubo: Order = 0.05
