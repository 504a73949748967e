"""What wakes the operator."""
