"""MTCNN that stays on the device: from uploaded frames to boxes, with one copy back.

Importing this imports torch: ``vision.mtcnn`` does so only where torch serves on a CUDA device.
"""

from __future__ import annotations

from .detector import ResidentDetector

__all__ = ["ResidentDetector"]
