"""Edit lists and negative start times."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.sources import open_source

from tests.media import levels, make_clip, picture


def with_edit_list(path: Path, *edits: tuple[int, int]) -> Path:
    """Replace the edit list of an MP4; an edit is a duration and a start (-1: nothing), in ms.

    The movie's clock must count milliseconds.
    """
    content = path.read_bytes()
    mdhd = content.index(b"mdhd") + 4
    scale = struct.unpack_from(">I", content, mdhd + 12)[0]
    entries = b"".join(
        struct.pack(">IiI", duration, -1 if start < 0 else start * scale // 1000, 1 << 16)
        for duration, start in edits
    )
    elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    edts = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
    at = content.index(b"edts") - 4
    old = struct.unpack_from(">I", content, at)[0]
    changed = bytearray(content[:at] + edts + content[at + old :])
    for box in (b"moov", b"trak"):
        place = content.index(box) - 4
        size = struct.unpack_from(">I", content, place)[0]
        struct.pack_into(">I", changed, place, size + len(edts) - old)
    path.write_bytes(changed)
    return path


def test_an_edit_list_cuts_and_delays(tmp_path: Path) -> None:
    """Of 20 frames, ten a second, those from 0.5 s to 1.5 s are shown; time begins with them."""
    path = make_clip(tmp_path / "cut.mp4", encoder={"bf": "0"})
    with open_source(with_edit_list(path, (1000, -1), (1000, 500))) as source:
        frames = list(source)
    assert [round(frame.pts, 1) for frame in frames] == [round(n / 10, 1) for n in range(10)]
    want = levels(picture(n, (160, 120)) for n in range(5, 15))
    assert np.abs(np.subtract(levels(frame.image for frame in frames), want)).max() <= 6
    assert source.problems == []


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts"])
def test_a_negative_start_counts_from_zero(tmp_path: Path, name: str) -> None:
    times = [n / 10 - 5 for n in range(20)]
    path = make_clip(tmp_path / name, times=times, options={"avoid_negative_ts": "disabled"})
    with open_source(path) as source:
        frames = list(source)
    assert np.allclose([frame.pts for frame in frames], np.arange(20) / 10, atol=0.01)
    assert source.problems == []
