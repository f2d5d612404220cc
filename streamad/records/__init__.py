"""From payload bytes to columnar batches."""
