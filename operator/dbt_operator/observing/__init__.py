"""Reads all that is known of an object, for its planner."""
