"""A decoder that a stream has taken over: what it says, and what it can reach."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from facestream.pipeline.sources import SourceOptions, SourceSpec
from facestream.pipeline.sources.process.link import DecoderLimits, DecoderLost
from facestream.pipeline.sources.process.messages import EndMessage, parse
from facestream.pipeline.sources.process.ring import Ring
from facestream.pipeline.sources.process.source import ProcessSource
from hypothesis import given
from hypothesis import strategies as st

from tests.decoders import decoders

TOTALS = '"totals": {"decoded": 1, "skipped": 0, "corrupt": 0}'
OPENED = (
    '{"kind": "opened", "live": %s, "bursts": false, "width": 64, "height": 48, "fps": 25.0,'
    ' "frames": null, "duration": null, "clock": "opened", "codec": "h264"}'
)
ROOM = '{"kind": "room", "bytes": 9216}'
PIXELS = (
    '{"ring": 1, "slot": %s, "format": "%s", "width": %s, "height": 48, "matrix": 2, "range": 0,'
    ' "ratio": 1.0}'
)


def pixels(slot: int = 0, kind: str = "bgr24", width: int = 64) -> str:
    return PIXELS % (slot, kind, width)


def frame(index: int = 0, pts: str = "0.0", utc: str = "null", where: str | None = None) -> str:
    return (
        f'{{"kind": "frame", {TOTALS}, "pixels": {where or pixels()}, "index": {index},'
        f' "pts": {pts}, "utc": {utc}, "still": false, "file": null}}'
    )


def picture(where: str) -> str:
    return f'{{"kind": "picture", {TOTALS}, "pixels": {where}, "time": 0.5}}'


FILE = OPENED % "false"
LIVE = OPENED % "true"
HOSTILE: dict[str, list[bytes | str]] = {
    "nothing": [],
    "no message": [b"\x80\x04\x95 pickle"],
    "no JSON": ["{"],
    "a list": ["[]"],
    "deep": ["[" * 60_000],
    "no such kind": ['{"kind": "run", "code": "1"}'],
    "more than it needs": ['{"kind": "alive", "code": "1"}'],
    "a frame before it is open": [frame()],
    "open twice": [FILE, FILE],
    "a picture of a file": [FILE, ROOM, picture(pixels())],
    "no ring": [FILE, frame()],
    "a slot that is not there": [FILE, ROOM, frame(where=pixels(63))],
    "a slot below": [FILE, ROOM, frame(where=pixels(-1))],
    "more than a slot": [FILE, ROOM, frame(where=pixels(width=60_000))],
    "wider than pictures are": [FILE, ROOM, frame(where=pixels(width=1 << 40))],
    "no width": [FILE, ROOM, frame(where=pixels(width=0))],
    "a file in planes": [FILE, ROOM, frame(where=pixels(kind="yuv420p"))],
    "a slot that is in use": [LIVE, ROOM, *[picture(pixels(kind="nv12"))] * 2],
    "a time that is none": [FILE, ROOM, frame(pts="NaN")],
    "an endless time": [FILE, ROOM, frame(pts="1e999")],
    "a text as number": [FILE, ROOM, frame(pts='"1"')],
    "a frame twice": [FILE, ROOM, frame(), frame()],
    "all the memory": [FILE, '{"kind": "room", "bytes": 1000000000000}'],
    "rings again and again": [FILE, *[ROOM] * 3],
    "chatter": [FILE, *['{"kind": "decoder", "by": "cpu", "fallback": null}'] * 2000],
    "an error that is none": ['{"kind": "end", "error": 5}'],
}


def taken_over(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    says: list[bytes | str],
    on_lost: Callable[[str], None],
) -> ProcessSource:
    """A source whose decoder says what the test wants."""
    contents = [one.encode() if isinstance(one, str) else one for one in says]
    program = folder / "decoder"
    program.write_text(
        f"#!{sys.executable} -S\n"
        "import socket, sys\n"
        "end = socket.socket(fileno=int(sys.argv[-2]))\n"
        f"for content in {contents!r}:\n"
        "    end.send(content)\n",
        encoding="utf-8",
    )
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    spec = SourceSpec("video", str(folder / "clip.mp4"), "the clip")
    return ProcessSource(
        spec, SourceOptions(), DecoderLimits(256, 5.0), lambda _, cause: on_lost(cause)
    )


@pytest.mark.parametrize("case", HOSTILE)
def test_nonsense_ends_its_source_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    causes: list[str] = []

    def read() -> None:
        with taken_over(monkeypatch, tmp_path, HOSTILE[case], causes.append) as source:
            kept = list(source.pictures() if source.live else source)  # none is freed
        assert not kept

    with pytest.raises(DecoderLost) as found:
        read()
    assert causes == [found.value.cause]
    assert causes[0] in {"nonsense", "crash", "start", "memory"}
    assert "\n" not in str(found.value)
    assert decoders() == []


def test_an_error_of_a_decoder_does_not_move_the_cursor() -> None:
    end = f'{{"kind": "end", {TOTALS}, "whole": false, "problems": ["a\\u001b[2Jb"]}}'
    message = parse(end.encode())
    assert isinstance(message, EndMessage)
    assert message.problems == ("a\ufffd[2Jb",)


@given(
    st.sampled_from([FILE, ROOM, frame(), picture("null"), picture(pixels(kind="nv12"))]),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=4),
)
def test_anything_is_a_message_or_a_value_error(
    message: str, changes: list[tuple[int, bytes]]
) -> None:
    content = message.encode()
    for place, new in changes:
        content = content[:place] + new + content[place + 1 :]
    with suppress(ValueError):
        parse(content)


def test_the_frames_memory_cannot_be_cut_off() -> None:
    """Else a read of it would end this process with SIGBUS."""
    ring = Ring(1, 2, 5000, lambda *_: None)
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.descriptor, size)
    (plane,) = ring.planes(1, "bgr24", 20, 10)
    assert not plane.flags.writeable
    ring.close()


def test_a_decoder_reads_its_own_file_only(tmp_path: Path) -> None:
    """Nor does it write, run programs, or look into its parent."""
    own, gallery = tmp_path / "own.mp4", tmp_path / "people.db"
    own.write_text("own")
    gallery.write_text("people")
    code = (
        "import os, sys\n"
        "import conftest\n"
        "from facestream.pipeline.sources.process import sandbox\n"
        "own, gallery, new = sys.argv[1:]\n"
        "sandbox.harden(os.getppid())\n"
        "if not sandbox.restrict_files([own]):\n"
        "    sys.exit(3)\n"
        "open(own).close()\n"
        "parent = f'/proc/{os.getppid()}'\n"
        "attempts = {\n"
        "    'gallery': lambda: open(gallery),\n"
        "    'folder': lambda: os.listdir(os.path.dirname(gallery)),\n"
        "    'writing': lambda: open(own, 'a'),\n"
        "    'making': lambda: open(new, 'w'),\n"
        "    'removing': lambda: os.unlink(gallery),\n"
        "    'environment': lambda: open(parent + '/environ').read(),\n"
        "    'memory': lambda: open(parent + '/mem', 'rb'),\n"
        "    'programs': lambda: os.execv('/bin/true', ['true']),\n"
        "}\n"
        "for name, attempt in attempts.items():\n"
        "    try:\n"
        "        attempt()\n"
        "    except PermissionError:\n"
        "        print(name)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(own), str(gallery), str(tmp_path / "new")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 3:
        pytest.skip("this kernel has no Landlock")
    assert ran.stdout.split() == [
        *("gallery", "folder", "writing", "making", "removing", "environment", "memory"),
        "programs",
    ], ran.stderr
    assert gallery.exists()


def test_a_decoder_without_its_parent_does_not_begin() -> None:
    code = "import conftest\nfrom facestream.pipeline.sources.process import sandbox\n"
    code += "sandbox.harden(1 << 30)\nprint('begins')"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "")
