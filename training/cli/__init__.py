"""The command line of the training package."""

from .app import main

__all__ = ["main"]
