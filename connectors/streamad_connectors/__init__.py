"""The connectors that ship with streamad, each behind `streamad.ports`."""
