"""Read, plan, act, write."""
