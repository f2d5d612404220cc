"""From decoded records to what a detector reads."""
