"""JSON lines, pictures, callbacks, and what all sinks have in common."""

from __future__ import annotations

import io
import json
import os
import resource
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.core.events import Event, Left
from facestream.pipeline.sinks.base import CallbackSink, SourcesSink
from facestream.pipeline.sinks.fan_out import FanOut
from facestream.pipeline.sinks.files import make_folder
from facestream.pipeline.sinks.jsonl import JsonlSink
from facestream.pipeline.sinks.pictures import PicturesSink

from tests.pipeline.tracks import picture, result, sighting


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_event_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path)
    for number in range(1, 4):
        sink.event(sighting(track_id=number))
        assert [line["track_id"] for line in lines(path)] == list(range(1, number + 1))
    sink.close()
    sink.close()


def test_an_earlier_file_stays_until_there_is_something_new(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("earlier\n")
    JsonlSink(path).close()
    assert path.read_text() == "earlier\n"
    with JsonlSink(path) as sink:
        sink.write(result(picture()))
    assert path.read_text() == ""


@pytest.mark.parametrize("make", [JsonlSink])
def test_what_cannot_be_written_is_said_before_the_run(
    tmp_path: Path, make: type[JsonlSink]
) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        make(tmp_path / "nowhere" / "events.jsonl")
    with pytest.raises(OutputError, match="it is a folder"):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_check_leaves_no_file_behind(tmp_path: Path) -> None:
    JsonlSink(tmp_path / "events.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_full_device_is_an_output_error() -> None:
    sink = JsonlSink("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        sink.event(sighting())
    sink.close()


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    # RLIMIT_FSIZE makes the write fall short as a full disk does; Python ignores its signal.
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path)
    sink.event(sighting())
    whole = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            sink.event(sighting(track_id=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sink.close()
    assert path.read_bytes() == whole


def test_a_dash_is_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer))
    with JsonlSink("-") as sink:
        sink.event(sighting())
        assert sink.path is None
    assert json.loads(buffer.getvalue())["track_id"] == 1


def test_a_reader_that_went_away_is_an_output_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=pipe))
        with pytest.raises(OutputError, match="went away"):
            JsonlSink("-").event(sighting())


def test_the_picture_is_saved_before_the_event_goes_on(tmp_path: Path) -> None:
    seen: list[Event] = []

    def check(event: Event) -> None:
        assert isinstance(event, Left)
        assert event.picture is None or (tmp_path / "a" / event.picture).is_file()
        seen.append(event)

    pictures = PicturesSink(tmp_path / "a" / "pictures", relative_to=tmp_path / "a")
    with FanOut([CallbackSink(on_event=check), pictures]) as sinks:
        sinks.event(sighting(name="Zoë / Ann").with_image(picture(30, 40, shade=200)))
        sinks.event(sighting(track_id=2))
    assert [event.picture for event in seen if isinstance(event, Left)] == [
        "pictures/clip-0001-Zoë-Ann.jpg",
        None,
    ]
    saved = cv2.imread(str(tmp_path / "a" / "pictures" / "clip-0001-Zoë-Ann.jpg"))
    assert saved is not None
    assert saved.shape == (40, 30, 3)
    assert abs(int(saved.mean()) - 200) < 3
    assert len(list((tmp_path / "a" / "pictures").iterdir())) == 1


def test_long_names_and_names_of_one_form_have_a_picture_each(tmp_path: Path) -> None:
    long = sighting(track_id=7, name="山田太郎" * 50, source="東京駅" * 80 + ".mp4")
    one = sighting(track_id=1, name="0002-x", source="a.mp4")
    other = sighting(track_id=2, name="x", source="a-0001.mp4")
    with PicturesSink(tmp_path) as sink:
        for event in (long, one, other):
            sink.enrich(event.with_image(picture()))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["a-0001-0002-x-2.jpg", "a-0001-0002-x.jpg"]
    assert "-0007-" in names[2]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="a file of that name exists"):
        make_folder(tmp_path / "taken")
    with pytest.raises(OutputError, match="cannot create the folder"):
        make_folder(tmp_path / "taken" / "below")


def test_callbacks_get_frames_and_events() -> None:
    seen: list[object] = []
    sink = CallbackSink(on_frame=seen.append, on_event=seen.append)
    frame, event = result(picture()), sighting()
    sink.write(frame)
    sink.event(event)
    assert seen == [frame, event]
    CallbackSink().write(frame)


def test_a_sink_of_some_sources() -> None:
    seen: list[object] = []
    inner = CallbackSink(on_frame=lambda r: seen.append(r.frame.source), on_event=seen.append)
    inner.needs = "all"
    sink = SourcesSink(inner, ["a"])
    assert sink.needs == "all"
    events = {source: sighting(source=source) for source in ("a", "b")}
    for source, event in events.items():
        sink.write(result(picture(), source=source))
        sink.event(event)
        sink.source_ended(source)
    assert seen == ["a", events["a"]]
