"""From a batch to scores, p-values, alerts and reasons."""
