"""The sources of a run: listed once, named apart, and read whatever one of them does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline import Pipeline
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.types import Frame, Image, LazyFrame
from facestream.pipeline.ingest.file_reader import Reader
from facestream.pipeline.ingest.isolation import SourceIsolation
from facestream.pipeline.ingest.readers import Readers, list_sources
from facestream.pipeline.metrics.families import FRAMES_IN
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.sources import BaseSource, SourceOptions, SourceSpec, expand_sources

from tests.media import make_clip

SECRET = "hush"


def cameras(**urls: str) -> Settings:
    return Settings().with_values({"cameras": {name: {"url": url} for name, url in urls.items()}})


def test_a_source_given_twice_is_one_source_and_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=12)
    with caplog.at_level(logging.INFO, "facestream"):
        found = list_sources([tmp_path, clip], Settings())
        with Pipeline(found) as pipeline:
            report = pipeline.run()
    assert (len(report.sources), report.frames) == (1, 12)
    assert pipeline.metrics.value(FRAMES_IN, source=str(clip)) == 12
    assert sum("more than once" in message for message in caplog.messages) == 1


def test_a_camera_and_its_url_are_one_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "a/b")
    settings = cameras(door="rtsp://bob:${PW}@10.0.0.7/main")
    for sources in (
        ["door", "rtsp://bob:a/b@10.0.0.7/main"],
        ["rtsp://bob:a/b@10.0.0.7/main", "door"],
    ):
        (only,) = list_sources(sources, settings).specs
        assert only.name == "door"


def test_a_source_that_is_missing_twice_is_missing_once(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    gone = tmp_path / "gone.mp4"
    found = list_sources([clip, gone, gone], Settings())
    assert [state.name for state in found.missing] == [str(gone)]


def test_standard_input_does_not_take_a_cameras_settings() -> None:
    settings = cameras(stdin="rtsp://10.0.0.7/main")
    (pipe,) = list_sources(["-"], settings).specs
    assert pipe.name == "stdin (2)"


def test_readers_refuse_two_sources_of_one_name() -> None:
    specs = [SourceSpec("url", f"udp://h:{port}", "door") for port in (1, 2)]
    with pytest.raises(ValueError, match="same name"):
        Readers(
            *(specs, SourceQueue(), Metrics()),
            settings=Settings(),
            frames="all",
            on_state=lambda _: None,
        )


class Faulty(BaseSource):
    """Three frames under a wrong name, then an exception that no source should raise."""

    def images(self) -> Iterator[tuple[float, Image]]:
        self.name = "another name"
        for number in range(3):
            yield number / 10, np.zeros((8, 8, 3), np.uint8)
        raise ZeroDivisionError(f"rtsp://bob:{SECRET}@door/x")


def test_a_source_that_raises_does_not_end_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=5)
    specs = [SourceSpec("video", "x", "faulty"), *expand_sources([clip])]
    queue: SourceQueue[Frame | LazyFrame] = SourceQueue()

    def opener(spec: SourceSpec, options: SourceOptions) -> BaseSource:
        if spec.name == "faulty":
            return Faulty(spec, options)
        raise SourceError("not readable")

    reader = Reader(
        *(specs, queue, Metrics()),
        buffer_frames=9,
        options=lambda _: SourceOptions(),
        opener=opener,
        isolation=SourceIsolation(fatal=()),
    )
    with caplog.at_level(logging.DEBUG, "facestream"):
        reader.run()
    faulty, other = reader.states
    assert (faulty.read, faulty.done, other.done) == (3, True, True)
    assert faulty.problems == ["faulty: ZeroDivisionError: rtsp://door"]
    assert other.problems == ["not readable"]
    assert SECRET not in caplog.text
    assert "in images" in caplog.text
    queue.seal()
    names = {frame.source for frame in queue.get_batch(3, 0.0) if isinstance(frame, Frame)}
    assert names == {"faulty"}


def test_a_file_in_place_of_a_camera_has_the_cameras_settings(tmp_path: Path) -> None:
    """A recording of the entrance is searched as often as the entrance."""
    clips = [make_clip(tmp_path / name, frames=12) for name in ("door.mp4", "other.mp4")]
    settings = Settings().with_values(
        {
            "tracking": {"detect_every": 6},
            "cameras": {"door": {"url": f"file://{clips[0]}", "tracking": {"detect_every": 3}}},
        }
    )
    with Pipeline(["door", clips[1]], settings=settings, frames="searched") as pipeline:
        found = [(result.frame.source, result.frame.index) for result in pipeline]
    assert found == [("door", n) for n in (0, 3, 6, 9)] + [(str(clips[1]), n) for n in (0, 6)]


@pytest.mark.parametrize("max_frames", [None, 10])
def test_progress_with_skipped_frames_counts_alike(tmp_path: Path, max_frames: int | None) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=20)
    settings = Settings().with_values(
        {"tracking": {"detect_every": 4}, "runtime": {"max_frames": max_frames}}
    )
    with Pipeline([clip], settings=settings, frames="searched") as pipeline:
        report = pipeline.run()
        progress = pipeline.progress()
    assert progress.frames == progress.total == (max_frames or 20)
    assert report.sources[0].frames == report.sources[0].expected


def test_a_file_that_is_deleted_while_it_is_read_does_not_end_the_run(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / name, frames=60) for name in ("a.mp4", "b.mp4")]
    count = 0
    with Pipeline(clips) as pipeline:
        for _ in pipeline:
            if not count:
                clips[0].unlink()
            count += 1
        report = pipeline.report()
    assert count == 120
    assert report.problems == ()
