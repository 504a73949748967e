"""What Prometheus is told: at most what docs/metrics.md lists, and never a node of a project."""
