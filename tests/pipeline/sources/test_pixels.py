"""Large pictures are shrunk before anything copies them, and refused above a limit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.picture_headers import jpeg_size
from facestream.pipeline.sources import SourceOptions, expand_sources, open_source
from facestream.pipeline.sources.convert import within
from facestream.pipeline.sources.mjpeg import _Decoder
from hypothesis import given
from hypothesis import strategies as st

from tests.faces import walking_face
from tests.media import make_clip
from tests.servers.clips import changing_size

Side = st.integers(1, 20_000)


@given(Side, Side, st.integers(1, 10_000_000))
def test_a_size_within_the_limit_keeps_its_shape(width: int, height: int, most: int) -> None:
    w, h = within(width, height, most)
    assert 1 <= w <= width
    assert 1 <= h <= height
    assert w * h <= most or 1 in (w, h)
    assert within(width, height, None) == (width, height)
    if min(w, h) >= 100:
        assert abs(w / h - width / height) <= 0.02 * width / height


def test_a_video_is_shrunk_and_shows_the_same(tmp_path: Path) -> None:
    (spec,) = expand_sources([make_clip(tmp_path / "a.mp4", size=(640, 480), draw=walking_face)])
    with open_source(spec) as source:
        whole = next(iter(source)).image
    with open_source(spec, SourceOptions(shrink_above=80_000)) as source:
        small = next(iter(source)).image
        assert (source.info.width, source.info.height) == (326, 244)
    assert small.shape == (244, 326, 3)
    same = cv2.resize(whole, (326, 244), interpolation=cv2.INTER_AREA)
    assert np.abs(same.astype(int) - small).mean() < 4


def test_a_video_above_the_limit_is_refused(tmp_path: Path) -> None:
    (spec,) = expand_sources([make_clip(tmp_path / "a.mp4", size=(640, 480))])
    with pytest.raises(SourceError, match=r"640x480 pixels, more than limits\."):
        open_source(spec, SourceOptions(refuse_above=300_000))


def test_a_video_that_grows_above_the_limit_is_not_decoded_there(tmp_path: Path) -> None:
    parts = [
        make_clip(tmp_path / f"{side}.mp4", frames=10, size=(side, side)) for side in (160, 640)
    ]
    (spec,) = expand_sources([changing_size(tmp_path / "grows.ts", parts, fps=10)])
    with open_source(spec, SourceOptions(refuse_above=100_000)) as source:
        assert {frame.image.shape[:2] for frame in source} == {(160, 160)}
        assert source.corrupt > 0


@pytest.mark.parametrize(("most", "shape"), [(None, (960, 1280)), (80_000, (244, 326))])
def test_a_jpeg_is_decoded_at_a_fraction(most: int | None, shape: tuple[int, int]) -> None:
    picture = walking_face(3, (1280, 960))
    content = bytes(cv2.imencode(".jpg", picture)[1])
    assert jpeg_size(content) == (1280, 960)
    decoder = _Decoder(SourceOptions(shrink_above=most), "camera")
    found = decoder.image(content)
    assert found is not None
    assert found.shape[:2] == shape
    assert list(decoder._codecs) == [0 if most is None else 1]
    same = cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(same.astype(int) - found).mean() < 4


def test_a_jpeg_above_the_limit_is_refused() -> None:
    content = bytes(cv2.imencode(".jpg", np.zeros((300, 400, 3), np.uint8))[1])
    with pytest.raises(SourceError, match="400x300 pixels"):
        _Decoder(SourceOptions(refuse_above=100_000), "camera").image(content)


def test_a_jpeg_above_the_limit_is_refused_behind_damage_too() -> None:
    content = bytes(cv2.imencode(".jpg", np.zeros((300, 400, 3), np.uint8))[1])
    at = content.index(b"\xff\xc0")
    hidden = content[:at] + b"xx" + content[at:]
    assert _Decoder(SourceOptions(refuse_above=200_000), "camera").image(hidden) is not None
    with pytest.raises(SourceError, match="400x300 pixels"):
        _Decoder(SourceOptions(refuse_above=100_000), "camera").image(hidden)
