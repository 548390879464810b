"""Faces and landmarks in pictures: MTCNN, watched areas, the motion gate."""

from .base import Detector, open_detector

__all__ = ["Detector", "open_detector"]
