"""The detectors of the papers, as ensembles, and the head that learns from labels."""
