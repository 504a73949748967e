"""What a run is compared with, and whose state becomes the current one."""
