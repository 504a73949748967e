"""The init container."""
