"""The detectors as estimators with the shape of scikit-learn's."""
