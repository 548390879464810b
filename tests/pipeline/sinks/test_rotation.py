"""The events' file over months: rotation, restarts, filters, somebody who follows it."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import tempfile
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.config import EventSettings
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.core.events import FusedTemplate, SourceStateEvent
from facestream.pipeline.sinks.fan_out import FanOut
from facestream.pipeline.sinks.jsonl import JsonlSink, LinesFile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.tracks import picture, result, sighting
from tests.waiting import wait_until

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC).timestamp()


class Clock:
    """Shows the time it is set to."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_full_file_is_renamed_and_a_new_one_begins(tmp_path: Path) -> None:
    clock = Clock()
    file = LinesFile(tmp_path / "seen.jsonl", max_bytes=8, clock=clock)
    for line in (b"1234\n", b"12\n", b"a\n", b"too long for a file\n", b"b\n"):
        file.write(line)
        clock.now += 60
    file.close()
    assert contents(tmp_path) == {
        "seen-2026-11-22T12-02-00.jsonl": b"1234\n12\n",
        "seen-2026-11-22T12-03-00.jsonl": b"a\n",
        "seen-2026-11-22T12-04-00.jsonl": b"too long for a file\n",
        "seen.jsonl": b"b\n",
    }


def test_a_new_day_is_a_new_file_also_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "seen.jsonl"
    file = LinesFile(path, daily=True, clock=clock)
    file.write(b"sunday\n")
    clock.now += 12 * 3600
    file.write(b"monday\n")
    file.write(b"monday too\n")
    file.close()
    os.utime(path, (clock.now, clock.now))
    clock.now += 24 * 3600
    file = LinesFile(path, earlier="append", daily=True, clock=clock)
    file.write(b"tuesday\n")
    file.close()
    assert contents(tmp_path) == {
        "seen-2026-11-23T00-00-00.jsonl": b"sunday\n",
        "seen-2026-11-24T00-00-00.jsonl": b"monday\nmonday too\n",
        "seen.jsonl": b"tuesday\n",
    }


def test_only_the_newest_rotated_files_stay(tmp_path: Path) -> None:
    mine = tmp_path / "seen-notes.jsonl"
    mine.write_text("not a rotated file\n")
    clock = Clock()
    file = LinesFile(tmp_path / "seen.jsonl", max_bytes=1, keep=2, clock=clock)
    for number in range(12):  # several in one second
        file.write(b"%d\n" % number)
        clock.now += 0.2
    file.close()
    assert contents(tmp_path) == {
        "seen-2026-11-22T12-00-02.jsonl": b"9\n",
        "seen-2026-11-22T12-00-02-2.jsonl": b"10\n",
        "seen-notes.jsonl": b"not a rotated file\n",
        "seen.jsonl": b"11\n",
    }


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", b""),
        (b'{"a": 1}\n', b'{"a": 1}\n'),
        (b'{"a": 1}\n{"b": 2}', b'{"a": 1}\n{"b": 2}\n'),
        (b'{"a": 1}\n{"b": ', b'{"a": 1}\n'),
        (b'{"b": ', b""),
    ],
)
def test_appending_begins_on_a_line_of_its_own(tmp_path: Path, before: bytes, kept: bytes) -> None:
    path = tmp_path / "seen.jsonl"
    path.write_bytes(before)
    file = LinesFile(path, earlier="append")
    file.write(b"new\n")
    file.close()
    assert path.read_bytes() == kept + b"new\n"


def test_a_full_disk_leaves_whole_lines_and_writing_can_go_on(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    path.write_bytes(b"earlier\n")
    file = LinesFile(path, earlier="append")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            file.write(b"x" * 30 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"earlier\n"
    file.write(b"there is room again\n")
    file.close()
    assert path.read_bytes() == b"earlier\nthere is room again\n"


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0, 90_000)), max_size=25),
    st.integers(1, 60),
    st.sampled_from(["replace", "append"]),
)
def test_no_line_is_split_lost_or_moved(
    lines: list[tuple[int, float]], size: int, restart: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, clock = Path(name), Clock()
        open_file = partial(LinesFile, folder / "e.jsonl", max_bytes=size, daily=True, clock=clock)
        file = open_file()
        for number, (length, pause) in enumerate(lines):
            if restart == "append" and number % 5 == 4:
                file.close()
                file = open_file(earlier="append")
            clock.now += pause
            file.write(json.dumps([number, "x" * length]).encode() + b"\n")
        file.close()
        found = [
            json.loads(line)[0]
            for path in sorted(folder.iterdir(), key=_age)
            for line in path.read_bytes().splitlines()
        ]
    assert found == list(range(len(lines)))
    assert all(a < b for a, b in pairwise(found))


def _age(path: Path) -> tuple[str, int]:
    """Sort key: the rotated files in the order of their names, then the one that is open."""
    match = re.fullmatch(r"e-(.{19})(?:-(\d+))?\.jsonl", path.name)
    return ("now", 0) if match is None else (match[1], int(match[2] or 1))


def test_tail_follows_through_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    with (
        JsonlSink(path, settings=EventSettings(rotate_megabytes=0.001)) as sink,
        (tmp_path / "followed").open("wb") as output,
    ):
        sink.event(sighting(track_id=0))
        tail = subprocess.Popen(
            ["tail", "-n", "+1", "-s", "0.05", "-F", str(path)],
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        try:
            for number in range(1, 12):
                # A reader that polls needs a moment with each file.
                wait_until(partial(_followed, tmp_path / "followed", number))
                sink.event(sighting(track_id=number))
            wait_until(partial(_followed, tmp_path / "followed", 12))
        finally:
            tail.terminate()
            tail.wait(10)
    assert len(list(tmp_path.glob("seen-*.jsonl"))) >= 5


def _followed(path: Path, count: int) -> bool:
    return path.read_bytes().endswith(b"\n") and _numbers(path) == list(range(count))


def _numbers(path: Path) -> list[object]:
    return _values(path, "track_id")


def _values(path: Path, key: str) -> list[object]:
    return [json.loads(line)[key] for line in path.read_text().splitlines()]


def test_events_of_an_earlier_run_are_kept_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    for number in (1, 2):
        with JsonlSink(path, earlier="append") as sink:
            sink.write(result(picture()))
            sink.event(sighting(track_id=number))
    assert _numbers(path) == [1, 2]


def test_only_the_wanted_kinds_are_written(tmp_path: Path) -> None:
    state = SourceStateEvent(source="door", utc=datetime.fromtimestamp(NOON, UTC), state="live")
    with JsonlSink(tmp_path / "a", settings=EventSettings(types=("source_state",))) as sink:
        sink.event(sighting())
        sink.event(state)
    assert _values(tmp_path / "a", "type") == ["source_state"]


def test_embeddings_are_written_only_when_asked_for(tmp_path: Path) -> None:
    mu = np.array([3.0, 0.0, -4.0], np.float32)
    event = sighting().with_template(FusedTemplate(mu, np.zeros(3, np.float32)))
    for wanted in ("left_out", "added"):
        with FanOut([JsonlSink(tmp_path / wanted)], embeddings=wanted) as sink:
            sink.event(event)
            sink.event(sighting())
    assert _values(tmp_path / "left_out", "embedding") == [None, None]
    assert _values(tmp_path / "added", "embedding") == [[0.6, 0, -0.8], None]


@pytest.mark.parametrize("stem", ["s" * 249, "東京駅" * 27])
def test_files_with_long_names_are_rotated_and_removed(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.jsonl"
    file = LinesFile(path, max_bytes=1, keep=2, clock=Clock())
    for number in range(5):
        file.write(b"%d\n" % number)
    file.close()
    texts = [one.read_bytes() for one in tmp_path.iterdir()]
    assert sorted(texts) == [b"2\n", b"3\n", b"4\n"]
    assert path.read_bytes() == b"4\n"
