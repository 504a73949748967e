"""The notifier: a process that sends messages, and holds the secrets of channels for that."""
