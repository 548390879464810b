"""Lost packets and streams that are joined midway: what is delivered is whole."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.types import Image
from facestream.pipeline.sources import open_source

from tests.media import Picture, Size, make_clip

SIZE = (320, 240)
FRAMES = 60
TS_PACKET = 188


def draw(index: int, _: Size) -> Picture:
    """Structure that moves: what is predicted from a wrong frame is wrong itself."""
    blobs = np.random.default_rng(5).integers(0, 255, (15, 20, 3), dtype=np.uint8)
    return np.asarray(np.roll(cv2.resize(blobs, SIZE), 3 * index, axis=1), np.uint8)


def clip(path: Path, codec: str, encoder: dict[str, str]) -> tuple[Path, list[Image]]:
    """The clip, and its frames as they are undamaged."""
    encoder = {"crf": "23"} | encoder
    make_clip(path, frames=FRAMES, size=SIZE, codec=codec, encoder=encoder, draw=draw)
    with open_source(path) as source:
        return path, [frame.image for frame in source]


def worst(images: list[Image], whole: list[Image]) -> float:
    """The largest error of an image to the frame that it should be, in levels, of 16×16 pixels."""
    found = []
    for image in images:
        some = image[::8, ::8].astype(int)
        right = min(whole, key=lambda one: float(np.abs(some - one[::8, ::8]).mean()))
        error = cv2.absdiff(image, right).astype(np.float32)
        found.append(float(cv2.resize(error, (20, 15), interpolation=cv2.INTER_AREA).max()))
    return max(found)


@pytest.mark.parametrize(
    ("codec", "encoder"), [("libx264", {"g": "20", "bf": "2"}), ("mpeg2video", {"g": "15"})]
)
def test_lost_packets(tmp_path: Path, codec: str, encoder: dict[str, str]) -> None:
    path, whole = clip(tmp_path / "clip.ts", codec, encoder)
    content = path.read_bytes()
    count = len(content) // TS_PACKET
    lost = random.Random(2).sample(range(count // 4, count), 3)
    packets = [content[at : at + TS_PACKET] for at in range(0, len(content), TS_PACKET)]
    path.write_bytes(b"".join(p for n, p in enumerate(packets) if n not in lost))
    with open_source(path) as source:
        images = [frame.image for frame in source]
    assert FRAMES // 4 < len(images) < FRAMES
    assert worst(images, whole) < 12
    assert source.corrupt >= FRAMES - len(images) - 3
    assert "left out" in " ".join(source.problems)


@pytest.mark.parametrize(
    "encoder", [{"g": "15", "bf": "0", "x264-params": "intra-refresh=1"}, {"g": "15", "bf": "0"}]
)
def test_joining_midway(tmp_path: Path, encoder: dict[str, str]) -> None:
    path, whole = clip(tmp_path / "clip.ts", "libx264", encoder)
    content = path.read_bytes()
    tables = content[: 3 * TS_PACKET]
    middle = len(content) // TS_PACKET // 4 * TS_PACKET
    path.write_bytes(tables + content[middle:])
    with open_source(path) as source:
        images = [frame.image for frame in source]
    assert len(images) >= 10
    assert worst(images, whole) < 12
