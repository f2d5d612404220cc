"""The engine loop, the daemon and its logs."""
