"""Pictures that show what is watched, masked and searched."""

from __future__ import annotations

import numpy as np
from facestream.pipeline.detection.region import View
from facestream.pipeline.sinks.video.regions import draw_regions


def test_what_is_drawn() -> None:
    image = np.full((200, 400, 3), 120, np.uint8)
    left = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    window = ((0.1, 0.4), (0.3, 0.4), (0.3, 0.8), (0.1, 0.8))
    drawn = draw_regions(image, View(watch=(left,), mask=(window,), min_face=20), title="door")
    assert (image == 120).all()
    assert (drawn[100, 350] == 40).all()  # not watched
    assert (drawn[60, 100] == 120).all()  # watched
    blue, green, red = drawn[120, 80].tolist()  # masked
    assert red > 170
    assert max(blue, green) < 110
    for size in ((1, 1), (20, 3000), (3000, 20)):
        tiny = np.zeros((*size, 3), np.uint8)
        assert draw_regions(tiny, View(watch=(left,), min_face=40), title="x").shape == (*size, 3)
