"""The suites by name; each is imported when it is used."""

from __future__ import annotations

import importlib

from ..suite import Suite

SUITES = {
    "detect": "face detection: pictures/s by size, smallest face, faces and batch",
    "embed": "the encoder: faces/s by batch, backend and precision",
    "search": "the index: queries/s by gallery, batch and kind",
    "e2e": "whole videos: frames/s by faces per frame and sources",
    "scale": "each part by threads, batches and sources",
    "views": "detection in a part of the frame or a smaller picture",
    "track": "trackers on simulated walks: identity switches and frames/s",
    "recognise": "tracking and decisions without the encoder",
    "training": "a training step of each trunk, and each trunk's encoder",
}
# Measured by ``suite all``: what a user of facestream runs.
MAIN = ("detect", "embed", "search", "e2e", "scale")


def suite_named(name: str) -> Suite:
    """
    Raises:
        ValueError: there is no suite of that name.
    """
    if name not in SUITES:
        raise ValueError(f"no suite '{name}'; choose one of {', '.join(SUITES)}")
    module = importlib.import_module(f"{__name__}.{name}")
    suite: Suite = module.SUITE
    return suite
