"""``facestream run`` as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from facestream.pipeline.core.events import Left, parse_event
from facestream.pipeline.core.types import Frame, Image
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.sinks.locks import OutputLock
from facestream.pipeline.sources.file import FileSource

from tests.pipeline.tracks import read_video
from tests.waiting import wait_until

from .conftest import LAUNCH, ROOT, Run, mistake, start, write_clip


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, portrait: Image) -> Path:
    """A gallery that knows her from the same photo, mirrored and larger."""
    folder = tmp_path_factory.mktemp("people")
    photo = cv2.flip(cv2.resize(portrait, None, fx=1.3, fy=1.3), 1)
    cv2.imwrite(str(folder / "photo.png"), photo)
    with Gallery(folder / "people.db") as gallery:
        gallery.add("Eileen Collins", folder / "photo.png")
    return folder / "people.db"


def sightings(text: str) -> list[Left]:
    """The `left` events among lines of JSON, which are all events."""
    events = [parse_event(line) for line in text.splitlines()]
    return [event for event in events if isinstance(event, Left)]


def test_who_was_seen_when_and_how_sure(run: Run, clip: Path, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    status, text, error = run("run", clip, "--gallery", people, "--out", out, "--verbose")
    assert status == 0, error
    modes = {place: place.stat().st_mode & 0o777 for place in [out, *out.rglob("*")]}
    assert all(mode == (0o700 if place.is_dir() else 0o600) for place, mode in modes.items()), modes
    assert "Eileen Collins" in text
    assert "20 frames · " in text
    for title in ("Sources", "Stages", "Queues"):
        assert title in text
    events = sightings((out / "events.jsonl").read_text(encoding="utf-8"))
    assert [event.name for event in events] == ["Eileen Collins"]
    assert events[0].uncertainty is not None
    assert events[0].picture is not None
    assert (out / events[0].picture).is_file()
    assert events[0].picture.split("/")[-1] in text
    assert len(read_video(out / "annotated.mp4")[0]) == 20
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["report"]["frames"] == 20
    assert report["people"][0]["name"] == "Eileen Collins"
    assert report["settings"]["detector"]["min_face"] == 40


def test_without_a_gallery_it_says_who_was_there(
    run: Run, clip: Path, people: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    out = tmp_path / "seen"
    status, text, error = run("run", clip, other, "--out", out, "--no-video")
    assert status == 0, error
    assert text.count("│ person 1 │") == 2
    assert "person 2" not in text
    assert "unknown" not in text.replace("-unknown.jpg", "")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [group["group"] for group in report["groups"]] == [1, 1]
    ids = [one for group in report["groups"] for one in group["sighting_ids"]]
    events = sightings((out / "events.jsonl").read_text(encoding="utf-8"))
    assert sorted(ids) == sorted(event.sighting for event in events)
    assert [len(report["people"]), report["people"][0]["name"]] == [2, "unknown"]
    # A second run into the folder: what is older is left, and said.
    (out / "annotated-before.mp4").touch()
    status, text, _ = run("run", clip, "-g", people, "--out", out, "--no-video", "--threshold", "1")
    assert status == 0
    assert "person 1 (below threshold)" in text
    assert f"{out} also has 1 picture and 1 annotated video of earlier runs" in text
    assert len(list((out / "pictures").iterdir())) == 2


def test_a_report_that_cannot_be_written_does_not_cost_the_table(run: Run, clip: Path) -> None:
    status, text, error = run("run", clip, "--report", "/dev/full", "--max-frames", "6")
    assert status == 2
    assert "person 1" in text
    assert "Wrote" not in text
    assert error.splitlines()[-1] == "facestream: cannot write /dev/full: No space left on device"


def test_a_full_disk_is_named_without_the_stage(run: Run, clip: Path) -> None:
    status, _, error = run("run", clip, "--events", "/dev/full", "--max-frames", "6")
    assert status == 1
    assert error.splitlines()[-1] == "facestream: cannot write /dev/full: No space left on device"


def test_two_runs_into_one_folder(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    assert run("run", clip, "--out", out, "--no-video", "--max-frames", "4")[0] == 0
    before = (out / "events.jsonl").read_bytes()
    with OutputLock(out / "events.jsonl"):
        line = mistake(run("run", clip, "--out", out))
    assert f"another run (process {os.getpid()}) is writing {out / 'events.jsonl'}" in line
    assert (out / "events.jsonl").read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == [
        "events.jsonl",
        "pictures",
        "report.json",
    ]


def test_events_on_standard_output_leave_it_clean(run: Run, clip: Path) -> None:
    status, text, error = run("run", clip, "--events", "-", "--max-frames", "8")
    assert status == 0
    assert [event.reason for event in sightings(text)] == ["no_gallery"]
    assert "8 frames" in error


def test_only_the_wanted_types_of_events(run: Run, clip: Path, people: Path) -> None:
    status, text, _ = run(
        *("run", clip, "--gallery", people, "--events", "-", "--events-of", "left")
    )
    assert status == 0
    assert [json.loads(line)["type"] for line in text.splitlines()] == ["left"]
    assert run("run", clip, "--events", "-", "--events-of", "source_state")[1] == ""


def test_frames_passed_over_count_as_dealt_with(run: Run, clip: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    status, text, _ = run("run", clip, "--detect-every", "4", "--report", report)
    assert status == 0
    assert "20 frames · 15 passed over · " in text
    counts = json.loads(report.read_text())["report"]
    assert (counts["frames"], counts["skipped"]) == (20, 15)
    assert (counts["sources"][0]["frames"], counts["sources"][0]["skipped"]) == (20, 15)
    status, _, _ = run("run", clip, "--detect-every", "4", "--annotate", tmp_path / "out.mp4")
    assert status == 0
    assert len(read_video(tmp_path / "out.mp4")[0]) == 20, "a video needs every frame"


def test_metrics_and_pictures_are_served_while_it_runs(
    run: Run, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("fastapi")
    caplog.set_level("INFO", "facestream")
    status, _, error = run("run", clip, "--metrics", ":0", "--restream", ":0")
    assert status == 0, error
    assert "metrics at http://127.0.0.1:" in error
    assert "live pictures at http://127.0.0.1:" in error


def test_one_bad_source_among_several_does_not_stop_the_others(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    text_file = tmp_path / "notes.mp4"
    text_file.write_text("dear diary")
    events = tmp_path / "events.jsonl"
    status, text, error = run(
        "run", text_file, clip, tmp_path / "missing.mp4", "--events", events, "--max-frames", "6"
    )
    assert status == 3
    assert "6 frames" in text
    assert "notes.mp4" in error
    assert "missing.mp4" in error
    assert len(sightings(events.read_text())) == 1


def test_several_sources_have_a_video_each(run: Run, clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    status, text, _ = run(
        "run", clip, other, "--annotate", tmp_path / "out.mp4", "--max-frames", "5"
    )
    assert status == 0
    for name in ("out-collins.mp4", "out-other.mp4"):
        assert name in text
        assert len(read_video(tmp_path / name)[0]) == 5


def test_flags_win_over_the_file(run: Run, clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("[runtime]\nmax_frames = 3\n[tracking]\nmin_faces = 1\n")
    status, text, _ = run("run", clip, "--config", config)
    assert (status, "3 frames" in text) == (0, True)
    status, text, _ = run("run", clip, "--config", config, "--max-frames", "4")
    assert (status, "4 frames" in text) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "no SOURCE is given and the settings have no camera"),
        (["run", "{clip}", "--events-of", "left,gone"], "there is no type 'gone'; the types are"),
        (["run", "{clip}", "--events-of", ","], "--events-of: name some of appeared"),
        (["run", "{clip}", "--transport", "pigeon"], "--transport"),
        (["run", "{clip}", "--metrics", "here"], "--metrics here: want [HOST]:PORT"),
        (["run", "{clip}", "--metrics", ":{taken}"], "cannot serve metrics at 127.0.0.1:{taken}"),
        (["run", "{clip}", "--restream", ":{taken}"], "cannot serve pictures at 127.0.0.1:{taken}"),
        (["run", "{clip}", "--restream", "0.0.0.0:0"], "a token is needed"),
        (["run", "{clip}", "--restream", ":0", "--restream-token", "short"], "at least 8"),
        (["run", "{clip}", "--frobnicate"], "No such option: --frobnicate"),
        (["runn"], "No such command 'runn'"),
        (["run", "missing.mp4"], "missing.mp4"),
        (["run", "{tmp}"], "{tmp}"),
        (["run", "{tmp}/*.mkv"], "{tmp}/*.mkv"),
        (["run", "{zero}"], "zero.mp4 is empty"),
        (["run", "{clip}", "--threshold", "2"], "--threshold on the command line: must be at most"),
        (["run", "{clip}", "--backend", "tpu"], "--backend"),
        (["run", "{clip}", "--min-face", "2"], "--min-face on the command line: must be at least"),
        (["run", "{clip}", "--min-face", "big"], "--min-face"),
        (["run", "{clip}", "--max-frames", "0"], "--max-frames"),
        (["run", "{clip}", "--gallery", "{tmp}/no.db"], "there is no gallery at"),
        (["run", "{clip}", "--gallery", "{zero}"], "zero.mp4"),
        (["run", "{clip}", "--annotate", "{tmp}/out.avi"], "must end in .mp4"),
        (["run", "{clip}", "--annotate", "{clip}"], "is a source of this run"),
        (["run", "{clip}", "--events", "{tmp}"], "it is a folder"),
        (["run", "{clip}", "--events", "{tmp}/no/e.jsonl"], "there is no folder"),
        (["run", "{clip}", "--report", "{tmp}/no/r.json"], "there is no folder"),
        (["run", "{clip}", "--out", "{zero}"], "a file of that name exists"),
        (
            ["run", "{clip}", "--events", "{tmp}/x", "--report", "{tmp}/x"],
            "two outputs of this run",
        ),
        (["run", "{clip}", "--sink", "kafka://host/x"], "there is no sink 'kafka'"),
        (["run", "{clip}", "--sink", "kafka"], "a sink is given as NAME:ADDRESS"),
        (["run", "{clip}", "--config", "{tmp}/no.toml"], "cannot read the settings file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    run: Run, clip: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    zero = tmp_path / "there" / "zero.mp4"
    zero.parent.mkdir()
    zero.write_bytes(b"")
    empty = tmp_path / "empty"
    empty.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        places = {"clip": str(clip), "tmp": str(empty), "zero": str(zero), "taken": str(port)}
        line = mistake(run(*(argument.format(**places) for argument in arguments)))
    assert message.format(**places) in line


def test_nothing_of_an_earlier_run_is_lost_by_a_failed_one(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    assert run("run", clip, "--out", tmp_path / "seen", "--max-frames", "4")[0] == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "seen").iterdir() if p.is_file()}
    mistake(run("run", tmp_path / "missing.mp4", "--out", tmp_path / "seen"))
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    mistake(run("run", empty, "--out", tmp_path / "seen"))
    after = {p.name: p.read_bytes() for p in (tmp_path / "seen").iterdir() if p.is_file()}
    assert after == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_completes_the_files(
    portrait: Image, tmp_path: Path, number: signal.Signals
) -> None:
    long = tmp_path / "long.mp4"
    write_clip(long, portrait, frames=2000)
    process = start("run", long, "--out", tmp_path / "seen", cwd=tmp_path)
    video = tmp_path / "seen" / "annotated.mp4"
    assert process.stderr is not None
    while "networks: " not in (line := process.stderr.readline()):  # said with the first result
        assert line, "it ended before its first result"
    wait_until(lambda: video.exists() and video.stat().st_size > 0)
    process.send_signal(number)
    process.send_signal(number)  # as timeout -s and some terminals do
    text, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "stopping and completing the files" in error
    assert "Interrupted after " in text
    report = json.loads((tmp_path / "seen" / "report.json").read_text(encoding="utf-8"))
    assert report["report"]["interrupted"]
    frames = report["report"]["frames"]
    assert 0 < frames < 2000
    assert len(read_video(video)[0]) == frames
    assert video.read_bytes().index(b"moov") < video.read_bytes().index(b"mdat")
    sightings((tmp_path / "seen" / "events.jsonl").read_text(encoding="utf-8"))


def test_a_closed_terminal_completes_the_files(portrait: Image, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    write_clip(long, portrait, frames=2000)
    events = tmp_path / "seen" / "events.jsonl"
    terminal, end = pty.openpty()
    owns = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    command = [sys.executable, "-c", owns + LAUNCH, str(ROOT), "run", str(long)]
    with subprocess.Popen(
        [*command, "--out", str(events.parent)],
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    ) as process:
        os.close(end)
        while not (events.exists() and b'"appeared"' in events.read_bytes()):
            assert os.read(terminal, 1 << 16)  # a full terminal would block it
        os.close(terminal)
    assert process.returncode == 130
    assert len(sightings(events.read_text(encoding="utf-8"))) == 1
    report = json.loads((events.parent / "report.json").read_text(encoding="utf-8"))
    assert report["report"]["interrupted"]
    assert 0 < report["report"]["frames"] < 2000


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_files_whose_names_are_not_utf8(run: Run, portrait: Image, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    photo = cv2.imencode(".png", portrait)[1].tobytes()
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(photo)
    (folder / os.fsdecode(b"not\xe9.png")).write_bytes(b"no photo")
    write_clip(folder / "clip.mp4", portrait, frames=8)
    (folder / "clip.mp4").rename(folder / os.fsdecode(b"vid\xe9o.mp4"))
    status, _, error = run("run", folder, "--out", tmp_path / "out")
    assert status == 3, error
    seen = sightings((tmp_path / "out" / "events.jsonl").read_text(encoding="utf-8"))
    assert {event.source for event in seen} == {str(folder), f"{folder}/vid\ufffdo.mp4"}
    report = (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert any(
        "not\\udce9.png" in source["problem"]  # messages are printable
        for source in json.loads(report)["report"]["sources"]
        if source["problem"]
    )


def test_an_unexpected_error_of_the_only_source_is_one_line(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FileSource) -> Iterator[Frame]:
        raise RuntimeError("a strange packet")

    monkeypatch.setattr(FileSource, "__iter__", broken)
    _, _, error = run("run", clip)
    assert error.count("RuntimeError: a strange packet") == 1
