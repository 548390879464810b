"""A stream on standard input."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.sources import (
    Source,
    SourceOptions,
    SourceSpec,
    StdinSource,
    expand_sources,
    open_source,
)

from tests.media import make_clip
from tests.pipeline.ingest.loopback import reading_threads, watching


class Piped:
    """A pipe that stands for standard input."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, spec: SourceSpec, options: SourceOptions) -> Source:
        return StdinSource(spec, options, descriptor=self._descriptor)


@contextmanager
def piped(content: bytes, *, hold: bool = False) -> Iterator[Piped]:
    """The content comes through a pipe, which then stays open and silent, or ends."""
    reading, writing = os.pipe()
    ended = threading.Event()

    def write() -> None:
        with suppress(BrokenPipeError), open(writing, "wb", buffering=0) as pipe:  # noqa: PTH123
            pipe.write(content)
            if hold:
                ended.wait()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield Piped(reading)
    finally:
        ended.set()
        os.close(reading)
        thread.join()
        assert reading_threads() == []


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv"])
def test_every_frame_comes_and_the_end_is_the_end(tmp_path: Path, name: str) -> None:
    content = make_clip(tmp_path / name, frames=60).read_bytes()
    with piped(content) as pipe, watching("-", opener=pipe) as watched:
        watched.thread.join(20)
        watched.until(lambda: len(watched.frames) == 60)
    assert watched.states == ["connecting", "live", "ended"]
    assert [frame.index for frame in watched.frames] == list(range(60))
    assert watched.frames[-1].pts == pytest.approx(5.9, abs=0.01)
    assert watched.frames[0].source == "stdin"
    assert watched.reader.state.problems == []


def test_stop_while_the_pipe_is_silent(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "clip.ts").read_bytes()
    for start in (b"", content[:5000], content):
        with piped(start, hold=True) as pipe, watching("-", opener=pipe) as watched:
            time.sleep(0.3)
            assert watched.stop() < 2
            assert watched.states[-1] == "ended"


def test_a_silent_pipe_is_stalled_but_never_given_up(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "clip.ts").read_bytes()
    with piped(content, hold=True) as pipe, watching("-", opener=pipe) as watched:
        watched.until_state("stalled")
        time.sleep(2.0)  # longer than the time-out of a camera
        assert watched.states == ["connecting", "live", "stalled"]


def test_what_is_no_video_has_failed() -> None:
    with piped(b"no video\n" * 5000) as pipe, watching("-", opener=pipe) as watched:
        watched.thread.join(20)
    assert watched.states == ["connecting", "failed"]
    assert "pipe a video into it" in watched.reader.state.problems[0]


def test_an_empty_pipe_is_said_to_be_empty() -> None:
    with piped(b"") as pipe, watching("-", opener=pipe) as watched:
        watched.thread.join(20)
    (problem,) = watched.reader.state.problems
    assert problem == "stdin: it is empty; pipe a video into it (MPEG-TS or Matroska)"


def test_a_terminal_is_refused() -> None:
    leader, terminal = os.openpty()
    try:
        with pytest.raises(SourceError, match="stdin is a terminal; pipe a video") as caught:
            StdinSource(expand_sources(["-"])[0], descriptor=terminal)
    finally:
        os.close(leader)
        os.close(terminal)
    assert caught.value.retry == "never"


def test_closed_standard_input_is_one_clear_line() -> None:
    with pytest.raises(SourceError, match="stdin is closed; pipe a video into it"):
        StdinSource(expand_sources(["-"])[0], descriptor=999)


def test_a_jump_of_its_clock_is_no_hour_without_pictures(tmp_path: Path) -> None:
    times = [n / 10 + (3600 if n >= 20 else 0) for n in range(40)]
    for name in ("clip.ts", "clip.mkv"):
        content = make_clip(tmp_path / name, frames=40, times=times).read_bytes()
        with piped(content) as pipe, watching("-", opener=pipe) as watched:
            watched.thread.join(20)
            watched.until(lambda watched=watched: len(watched.frames) == 40)  # type: ignore[misc]
        assert watched.frames[-1].pts == pytest.approx(3.9, abs=0.2)
        assert watched.frames[-1].utc - time.time() < 10
    with open_source(tmp_path / "clip.ts") as source:
        assert list(source)[-1].pts == pytest.approx(3.9, abs=0.2)
    with open_source(tmp_path / "clip.mkv") as source:  # of a recording the gap is true
        assert list(source)[-1].pts == pytest.approx(3603.9, abs=0.2)
