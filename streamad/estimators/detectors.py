"""The estimators of the papers' detectors; what each one is, its detector's file under streamad/models says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from streamad.estimators.base import Estimator


@dataclass(kw_only=True, eq=False, repr=False)
class AE(Estimator):
    """An autoencoder; the score is its squared error."""

    _detector: ClassVar[str] = "ae"
    norm: bool = False


@dataclass(kw_only=True, eq=False, repr=False)
class DAE(AE):
    """A denoising autoencoder (UaiNets, section 3)."""

    _detector: ClassVar[str] = "dae"
    noise: float = 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class AESAD(AE):
    """AE-SAD: labeled anomalies are reconstructed as their opposite, with weight ``1 + alpha (n / s - 1)``."""

    _detector: ClassVar[str] = "ae_sad"
    _labels: ClassVar[bool] = True
    hidden: Sequence[int] = (128, 64, 32)
    scaling: Literal["standard", "minmax", "none"] = "minmax"
    alpha: float = 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class DeepSVDD(Estimator):
    """Deep SVDD: one-class where `nu` is 0, else with a soft boundary that leaves out that share of rows."""

    _detector: ClassVar[str] = "deep_svdd"
    batch_size: int = 200
    learning_rate: float = 1e-4
    norm: bool = True
    pretraining: float = 1.0
    nu: float = 0.0


@dataclass(kw_only=True, eq=False, repr=False)
class DeepSAD(Estimator):
    """Deep SAD: rows are mapped near a centre, labeled anomalies away from it, with weight `eta`."""

    _detector: ClassVar[str] = "deep_sad"
    _labels: ClassVar[bool] = True
    batch_size: int = 200
    learning_rate: float = 1e-4
    norm: bool = True
    pretraining: float = 1.0
    eta: float = 1.0


@dataclass(kw_only=True, eq=False, repr=False)
class Supervised(Estimator):
    """A classifier of labeled anomalies against all other rows."""

    _detector: ClassVar[str] = "supervised"
    _labels: ClassVar[bool] = True
    batch_size: int = 200
    norm: bool = True


@dataclass(kw_only=True, eq=False, repr=False)
class VAE(Estimator):
    """A variational autoencoder; the score is the negative ELBO, its error averaged over the features."""

    _detector: ClassVar[str] = "vae"
    members: int = 5
    norm: bool = False
    beta: float = 0.05
    score_beta: float = 0.05


@dataclass(kw_only=True, eq=False, repr=False)
class DPVAE(VAE):
    """DP-VAE: labeled outliers have a prior of their own, `alpha` away from the normal rows' one."""

    _detector: ClassVar[str] = "dp_vae"
    _labels: ClassVar[bool] = True
    alpha: float = 5.0


@dataclass(kw_only=True, eq=False, repr=False)
class MMLVAE(VAE):
    """MML-VAE: labeled outliers' likelihood is lowered through the CUBO, with weight `gamma`."""

    _detector: ClassVar[str] = "mml_vae"
    _labels: ClassVar[bool] = True
    gamma: float = 1.0
    beta_cubo: float = 0.05


@dataclass(kw_only=True, eq=False, repr=False)
class MMLDPVAE(DPVAE):
    """MML-DP-VAE: DP-VAE and MML-VAE at once."""

    _detector: ClassVar[str] = "mml_dp_vae"
    gamma: float = 1.0
    beta_cubo: float = 0.05
