"""All sinks together, and those of other packages."""

from __future__ import annotations

import importlib.metadata
import itertools
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline import Pipeline
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.errors import OutputError, StageFailed, UsageError
from facestream.pipeline.core.events import Event, FusedTemplate
from facestream.pipeline.sinks.background import BackgroundSink
from facestream.pipeline.sinks.base import CallbackSink, Sink, SourcesSink
from facestream.pipeline.sinks.fan_out import FanOut
from facestream.pipeline.sinks.jsonl import JsonlSink
from facestream.pipeline.sinks.mjpeg.sink import RestreamSink
from facestream.pipeline.sinks.pictures import PicturesSink
from facestream.pipeline.sinks.registry import SINKS, open_sink
from facestream.pipeline.sinks.video.files import VideoSink
from facestream.pipeline.sinks.video.segments import SegmentsSink

from tests.media import make_clip
from tests.pipeline.tracks import picture, result, sighting, track

MAKERS: dict[str, Callable[[Path], Sink]] = {
    "events": lambda folder: JsonlSink(folder / "events.jsonl"),
    "pictures": lambda folder: PicturesSink(folder / "pictures", relative_to=folder),
    "video": lambda folder: VideoSink(folder / "out.mp4", naming="per_source"),
    "background": lambda folder: SourcesSink(
        BackgroundSink(JsonlSink(folder / "more.jsonl"), name="more"), ["a"]
    ),
}


def run_through(sinks: FanOut) -> None:
    template = FusedTemplate(np.array([3.0, -4.0], np.float32), np.zeros(2, np.float32))
    with sinks:
        for number in range(3):
            for source in ("a", "b"):
                sinks.write(
                    result(picture(), track(), source=source, index=number, pts=number / 10)
                )
        for number, source in enumerate("ab"):
            event = sighting(track_id=number, name="Ada", source=source).with_template(template)
            event = event.model_copy(update={"id": source}).with_image(picture(shade=90))
            sinks.event(event.with_template(template))
            sinks.source_ended(source)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_order_of_the_sinks_does_not_matter(tmp_path: Path) -> None:
    written = []
    for number, names in enumerate(itertools.permutations(MAKERS)):
        folder = tmp_path / str(number)
        folder.mkdir()
        run_through(FanOut([MAKERS[name](folder) for name in names], embeddings="added"))
        written.append(contents(folder))
    assert sorted(written[0]) == [
        "events.jsonl",
        "more.jsonl",
        "out-a.mp4",
        "out-b.mp4",
        "pictures/a-0000-Ada.jpg",
        "pictures/b-0001-Ada.jpg",
    ]
    assert b'"picture":"pictures/a-0000-Ada.jpg"' in written[0]["more.jsonl"]
    assert b'"embedding":[0.6,-0.8]' in written[0]["more.jsonl"]
    assert all(one == written[0] for one in written[1:])


class Counted(Sink):
    """Counts how often it is closed, and can fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.closed = 0

    def enrich(self, event: Event) -> Event:
        if self.fails:
            raise OutputError("the disk is full")
        return event

    def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OutputError("cannot be finished")


def test_each_sink_is_closed_once_whatever_the_others_do() -> None:
    sinks = [Counted(), Counted(fails=True), Counted()]
    together = FanOut(sinks)
    with pytest.raises(StageFailed, match="stage 'Counted' failed: OutputError: the disk is full"):
        together.event(sighting())
    with pytest.raises(OutputError, match="cannot be finished"):
        together.close()
    together.close()
    assert [sink.closed for sink in sinks] == [1, 1, 1]


def test_a_pipeline_that_never_runs_closes_its_sinks(tmp_path: Path) -> None:
    sink = Counted()
    with Pipeline([make_clip(tmp_path / "clip.mp4", frames=1)], sinks=[sink]):
        assert sink.closed == 0
    assert sink.closed == 1


@pytest.mark.parametrize(
    "make",
    [
        *MAKERS.values(),
        lambda folder: SegmentsSink(folder / "live.mp4"),
        lambda folder: RestreamSink(Address("127.0.0.1", 0)),
        lambda folder: CallbackSink(),
    ],
)
def test_closing_again_does_nothing(tmp_path: Path, make: Callable[[Path], Sink]) -> None:
    pytest.importorskip("uvicorn")
    before = threading.active_count()
    sink = make(tmp_path)
    sink.write(result(picture(), source="a"))
    sink.close()
    files = contents(tmp_path)
    sink.close()
    assert contents(tmp_path) == files
    assert threading.active_count() == before


def test_frames_that_one_sink_needs_are_needed(tmp_path: Path) -> None:
    assert FanOut([Counted(), JsonlSink(tmp_path / "a")]).needs == "searched"
    assert FanOut([Counted(), VideoSink(tmp_path / "a.mp4")]).needs == "all"


# --- sinks of other packages ------------------------------------------------------------------


class Remote(Sink):
    """Remembers how it was opened."""

    def __init__(self, address: str, options: Mapping[str, str]) -> None:
        if "port" in options:
            raise ConnectionError(f"nobody listens at {options['port']}")
        self.opened = (address, dict(options))
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that offer a sink, one that is broken, and one that is no sink."""
    points = EntryPoints(
        EntryPoint(name, value, "facestream.sinks")
        for name, value in (
            ("remote", f"{__name__}:Remote"),
            ("broken", "facestream_broken.sinks:open"),
            ("dict", "builtins:dict"),
        )
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", points.select)


@pytest.mark.usefixtures("installed")
def test_a_sink_is_opened_by_its_name() -> None:
    sink = open_sink("remote://user@host:9/topic?acks=all&tag=")
    assert isinstance(sink, Remote)
    assert sink.opened == ("remote://user@host:9/topic", {"acks": "all", "tag": ""})
    SINKS.register("in-process", Remote)
    own = open_sink("in-process:here")
    assert isinstance(own, Remote)
    assert own.opened == ("in-process:here", {})


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("remote", "a sink is given as NAME:ADDRESS, e.g. kafka://host:9092/topic"),
        ("/tmp/x:y", "a sink is given as NAME:ADDRESS, e.g. kafka://host:9092/topic"),
        ("kafka://host/x", "there is no sink 'kafka'; there is broken, dict, "),
        (
            "broken:x",
            "the sink 'broken' (facestream_broken.sinks:open) cannot be loaded: "
            "ModuleNotFoundError: No module named 'facestream_broken'",
        ),
        ("remote:x?port=7", "cannot open the sink 'remote': ConnectionError: nobody listens at 7"),
        ("dict:", "cannot open the sink 'dict': TypeError: "),
    ],
)
def test_what_cannot_be_opened_is_one_clear_line(spec: str, line: str) -> None:
    with pytest.raises(UsageError) as raised:
        FanOut([spec])
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("installed")
def test_a_sink_that_cannot_be_opened_closes_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Remote] = []

    def factory(address: str, options: Mapping[str, str]) -> Sink:
        opened.append(Remote(address, options))
        return opened[-1]

    SINKS.register("kept", factory)
    with pytest.raises(OutputError, match="there is no sink 'kafka'"):
        FanOut(["kept:1", "kafka:2"])
    assert [sink.closed for sink in opened] == [1]
