"""The kinds, one module each; none imports another."""
