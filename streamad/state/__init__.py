"""What outlives the process: buffer, artifacts, store."""
