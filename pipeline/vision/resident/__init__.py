"""MTCNN that stays on the device: from uploaded frames to boxes, with one copy back.

Import ``detector`` from here only where torch is wanted: it is the one thing of ``pipeline`` that
needs it.
"""
