"""Durable jobs: media work that survives the process which does it."""
