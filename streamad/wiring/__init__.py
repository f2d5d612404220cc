"""The one place that turns a config into live objects."""
