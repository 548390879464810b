"""Sources that are decoded in a process of their own give what they give without one."""

from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.sources import SourceOptions, SourceSpec, open_source
from facestream.pipeline.sources.process.link import DecoderLost
from facestream.pipeline.sources.process.source import DecoderFailed
from PIL import Image as Pillow

from tests.decoders import decoders, decoders_of, ended, in_process, isolated
from tests.media import damage, join_clips, make_clip, truncate
from tests.pipeline.ingest.loopback import STREAM, Connection, Server
from tests.waiting import wait_until


def sized(tmp_path: Path) -> Path:
    """A clip that becomes larger midway."""
    parts = [
        make_clip(tmp_path / f"{n}.ts", frames=6, size=size)
        for n, size in enumerate([(160, 120), (320, 240)])
    ]
    return join_clips(tmp_path / "sizes.ts", parts)


def damaged(tmp_path: Path) -> Path:
    clip = make_clip(tmp_path / "bad.mkv", frames=60, fps=25)
    return truncate(damage(clip, start=0.5), 0.9)


def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(40, 30), (300, 200)]):
        Pillow.new("RGB", size, (number * 90, 20, 200)).save(folder / f"{number}.png")
    (folder / "2.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return folder


def turned(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "turned.mp4", rotate=90, size=(162, 122), frames=8)


@pytest.mark.parametrize("make", [sized, damaged, photos, turned])
def test_files_give_the_same_frames(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    options = SourceOptions(every=2)
    with open_source(path, options) as source:
        expected = list(source)
    with isolated(path, options) as other:
        frames = list(other)
    assert len(frames) == len(expected) > 1
    for ours, theirs in zip(frames, expected, strict=True):
        assert (ours.index, ours.pts, ours.still, ours.file) == (
            *(theirs.index, theirs.pts, theirs.still, theirs.file),
        )
        assert math.isnan(ours.utc) == math.isnan(theirs.utc)
        np.testing.assert_array_equal(ours.image, theirs.image)
        assert ours.image.flags.writeable
    assert other.info == source.info
    assert (other.decoded, other.skipped, other.corrupt) == (
        *(source.decoded, source.skipped, source.corrupt),
    )
    assert (other.problems, other.whole) == (source.problems, source.whole)


def stream(tmp_path: Path, pixel_format: str) -> bytes:
    clip = make_clip(
        tmp_path / "clip.ts", frames=12, size=(162, 122), pixel_format=pixel_format, fps=25
    )
    return STREAM + clip.read_bytes()


def jpegs() -> bytes:
    found = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n"
    for number in range(4):
        picture = io.BytesIO()
        Pillow.new("RGB", (62, 42), (number * 60, 20, 200)).save(picture, "JPEG")
        content = picture.getvalue() if number != 2 else b"\xff\xd8\xff\xda bad \xff\xd9"
        found += b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + content + b"\r\n"
    return found


@pytest.mark.parametrize(
    ("kind", "most"),
    [("yuv420p", None), ("yuv420p", 5000), ("yuv444p", 5000), ("jpeg", None), ("jpeg", 600)],
)
def test_live_pictures_are_the_same(tmp_path: Path, kind: str, most: int | None) -> None:
    """Planes cross as they are, or BGR where they are of a rare format; larger ones are shrunk."""
    answer = jpegs() if kind == "jpeg" else stream(tmp_path, kind)
    options = SourceOptions(shrink_above=most)

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(answer)

    found = []
    server = Server(serve)
    url = server.url("live" if kind == "jpeg" else "live.ts")
    for opener in (open_source, isolated):
        with opener(url, options) as source:
            assert source.live
            kept = list(source.pictures())  # more than there are slots
            found.append((source, [(one.time, one.image(), one.sample()) for one in kept]))
    server.close()
    (source, expected), (other, pictures) = found
    assert len(pictures) == len(expected) > 1
    for ours, theirs in zip(pictures, expected, strict=True):
        assert ours[0] == theirs[0]
        assert ours[2] == theirs[2] or kind == "yuv444p"  # of BGR: another grey
        if ours[1] is None or theirs[1] is None:
            assert ours[1] is theirs[1]
        elif most is None or kind != "yuv420p":
            np.testing.assert_array_equal(ours[1], theirs[1])
        else:  # where the samples of colours lie does not cross: scaling shifts them
            assert np.abs(ours[1].astype(int) - theirs[1]).mean() < 0.2
        assert most is None or ours[1] is None or ours[1].size <= 3 * most
    assert (other.info, other.corrupt) == (source.info, source.corrupt)


def test_errors_are_the_same(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    for path in (text, make_clip(tmp_path / "tracks.mp4")):
        spec = SourceSpec("video", str(path), "it", track=3)
        with pytest.raises(SourceError) as expected:
            open_source(spec)
        with pytest.raises(SourceError) as found:
            in_process(spec)
        assert str(found.value) == str(expected.value)
        assert (found.value.reason, found.value.retry) == (
            *(expected.value.reason, expected.value.retry),
        )
    assert decoders() == []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_an_error_of_the_source(tmp_path: Path, number: signal.Signals) -> None:
    source = isolated(make_clip(tmp_path / "long.mp4", frames=300))
    with source:
        frames = iter(source)
        assert next(frames).index == 0
        assert source.process_id is not None
        os.kill(source.process_id, number)
        with pytest.raises(DecoderLost, match=rf"its decoder crashed \({number.name}\)") as lost:
            list(frames)
    assert lost.value.cause == "crash"
    assert lost.value.retry == "soon"


def test_a_decoder_that_hangs_is_killed(tmp_path: Path) -> None:
    with isolated(make_clip(tmp_path / "long.mp4", frames=300), silence=0.5) as source:
        frames = iter(source)
        next(frames)
        assert source.process_id is not None
        os.kill(source.process_id, signal.SIGSTOP)
        with pytest.raises(DecoderLost, match=r"no sign of life for 0\.5 s") as lost:
            list(frames)
        assert lost.value.cause == "hang"
    assert ended(source.process_id)


def test_a_reader_that_pauses_is_no_hang(tmp_path: Path) -> None:
    """Its buffers are full meanwhile."""
    with isolated(make_clip(tmp_path / "long.mp4", frames=60), silence=1.0) as source:
        frames = iter(source)
        next(frames)
        threading.Event().wait(1.3)
        assert len(list(frames)) == 59


@pytest.mark.parametrize("memory", [128, 256])
def test_a_video_that_needs_too_much_memory_costs_its_decoder_alone(
    tmp_path: Path, memory: int
) -> None:
    """It cannot be decoded, or not be handed over."""
    huge = make_clip(
        tmp_path / "huge.avi", frames=2, size=(6000, 4000), codec="mjpeg", pixel_format="yuvj420p"
    )
    why = rf"needs more than {memory} MB \(runtime\.decoder_memory\)"
    with pytest.raises(DecoderLost, match=why), isolated(huge, memory=memory) as source:
        list(source)
    assert decoders() == []


def test_a_stop_ends_it_soon(tmp_path: Path) -> None:
    with isolated(make_clip(tmp_path / "long.mp4", frames=300)) as source:
        frames = iter(source)
        next(frames)
        source.stop()
        assert len(list(frames)) < 299
    assert decoders() == []


def test_nothing_is_left(tmp_path: Path) -> None:
    """No descriptors, no process, no shared memory; also where frames are still in use."""
    clip = make_clip(tmp_path / "clip.mp4", frames=5)
    with isolated(clip) as source:
        list(source)
    before = len(list(Path("/proc/self/fd").iterdir()))
    shared = set(Path("/dev/shm").iterdir())
    for _ in range(3):
        with isolated(clip) as source:
            kept = [frame.image for frame in source]
    assert len(kept) == 5
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert set(Path("/dev/shm").iterdir()) == shared
    assert decoders() == []


@pytest.mark.parametrize("stopped", [False, True])
def test_a_decoder_ends_with_its_parent(tmp_path: Path, stopped: bool) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=300)
    code = (
        "import conftest, sys, time\n"
        "from tests.decoders import isolated\n"
        "source = isolated(sys.argv[1])\n"
        "print(source.process_id, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(clip)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert decoders_of(parent.pid) == [process]
        if stopped:
            os.kill(process, signal.SIGSTOP)
        parent.kill()
    wait_until(lambda: ended(process))


def test_an_unexpected_error_keeps_its_text(tmp_path: Path) -> None:
    spec = SourceSpec("nonsense", "nowhere", "it")  # type: ignore[arg-type]
    with pytest.raises(DecoderFailed, match="KeyError: 'nonsense'"):
        in_process(spec)


def test_what_the_decoder_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own source, and nothing of other cameras, of the gallery, of this process."""
    monkeypatch.setenv("DOOR_PASSWORD", "hush-door")
    monkeypatch.setenv("FACESTREAM_RESTREAM_TOKEN", "hush-token")
    gallery = (tmp_path / "people.db").open("wb")
    clip = make_clip(tmp_path / "hush-own.mp4", frames=100)
    with gallery, isolated(clip) as source:
        folder = Path(f"/proc/{source.process_id}")
        next(iter(source))
        assert b"hush" not in (folder / "cmdline").read_bytes()
        open_files = [str(path.readlink()) for path in (folder / "fd").iterdir()]
        assert str(clip) in open_files
        assert not any("people.db" in name for name in open_files)
        kinds = {name.partition(":")[0] for name in open_files if name != str(clip)}
        assert kinds <= {"/dev/null", "socket", "/memfd"}
        assert sum(name.startswith("socket") for name in open_files) == 1
        assert b"hush" not in (folder / "environ").read_bytes()
        limits = (folder / "limits").read_text()
        assert str(1024 << 20) in limits
        assert "NoNewPrivs:\t1" in (folder / "status").read_text()
