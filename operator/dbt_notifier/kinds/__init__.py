"""Kinds of channels: how a message is rendered for each, and how it is sent."""
