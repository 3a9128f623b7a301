"""Runware: arrays of tasks over one kept socket for each credential, or over REST (media.md 7)."""
