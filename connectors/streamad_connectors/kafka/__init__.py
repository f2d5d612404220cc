"""Kafka: records, labels, alerts and models as topics."""
