"""What the pod of an attempt is, and what became of it."""
