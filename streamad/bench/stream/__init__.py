"""Whole streams with a simulated analyst: each record is scored first and learned from after, beside peers."""
