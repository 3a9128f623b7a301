"""Logs: the only module that knows how they look and where they go."""

from __future__ import annotations

import logging


def configure_logging() -> None:
    """Lines on standard error; the level is INFO for us and WARNING for everybody else."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("polyroute").setLevel(logging.INFO)
