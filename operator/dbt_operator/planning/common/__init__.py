"""What all planners use."""
