"""``python -m facestream.training``."""

from __future__ import annotations

from .cli import main

main()
