"""What the end of a step, a window, a run means."""
