"""Labels and which events to ask about."""
