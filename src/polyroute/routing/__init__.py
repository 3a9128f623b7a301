"""Decisions, pure and synchronous; time is an argument."""
