"""Who gets a target's slots, who is before whom, and what is said while waiting."""
