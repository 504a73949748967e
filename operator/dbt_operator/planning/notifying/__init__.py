"""Who is told of an end, and what they are told."""
