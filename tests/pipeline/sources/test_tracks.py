"""Files with several video tracks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import VideoFrame
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.sources import SourceOptions, expand_sources, open_source


@pytest.fixture
def two_tracks(tmp_path: Path) -> Path:
    """The first track is dark, the second one bright; a cover picture comes before both."""
    path = tmp_path / "both.mp4"
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = Disposition.attached_pic
        tracks: list[Any] = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for track in tracks:
            track.width, track.height, track.pix_fmt = 160, 120, "yuv420p"
        grey = VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="bgr24")
        container.mux([*cover.encode(grey), *cover.encode(None)])
        for _ in range(5):
            for track, level in zip(tracks, (50, 200), strict=True):
                image = np.full((120, 160, 3), level, np.uint8)
                container.mux(track.encode(VideoFrame.from_ndarray(image, format="bgr24")))
        for track in tracks:
            container.mux(track.encode(None))
    return path


def brightness(source: str, options: SourceOptions | None = None) -> float:
    with open_source(source, options or SourceOptions()) as opened:
        assert opened.name == source
        return float(next(iter(opened)).image.mean())


def test_the_first_track_is_watched_and_a_line_says_so(
    two_tracks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert brightness(str(two_tracks)) == pytest.approx(50, abs=5)
    assert "has 2 video tracks" in caplog.text
    assert "track 0 is watched" in caplog.text


@pytest.mark.parametrize(("track", "level"), [(0, 50), (1, 200)])
def test_a_track_is_chosen(
    two_tracks: Path, track: int, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert brightness(f"{two_tracks}#{track}") == pytest.approx(level, abs=5)
    by_option = brightness(str(two_tracks), SourceOptions(track=track))
    assert by_option == pytest.approx(level, abs=5)
    assert "video tracks" not in caplog.text


def test_both_tracks_are_two_sources(two_tracks: Path) -> None:
    names = [f"{two_tracks}#0", f"{two_tracks}#1"]
    assert [spec.name for spec in expand_sources([*names, names[0]])] == names


def test_a_track_that_is_not_there(two_tracks: Path) -> None:
    with pytest.raises(SourceError, match="has 2 video tracks, no track 2"):
        open_source(f"{two_tracks}#2")


def test_a_file_may_have_such_a_name(two_tracks: Path) -> None:
    path = two_tracks.rename(two_tracks.with_name("take#1"))
    assert expand_sources([path])[0].track is None
