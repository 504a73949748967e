"""Puts the operator's process together: threads, election, health."""
