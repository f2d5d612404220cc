"""Streaming anomaly detection for event feeds."""
