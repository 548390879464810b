"""What is kept of a video when its faces are covered: times, streams, colours, orientation."""

from __future__ import annotations

import os
import resource
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.core.types import Image
from facestream.pipeline.redaction import RedactionCancelled, RedactionChoice, RedactionOptions
from facestream.pipeline.redaction.lines import Line
from facestream.pipeline.redaction.plan import Plan
from facestream.pipeline.redaction.reading import VideoReader
from facestream.pipeline.redaction.recode import recode, written
from facestream.pipeline.redaction.search import VideoFaces

from tests.media import join_clips, make_clip, streams_of

BOX = np.array([60, 40, 80, 70], np.float32)
OPTIONS = RedactionOptions(style="solid")


def plan_of(path: Path, box: Any = BOX) -> Plan:
    """A face in the same place of every frame."""
    found = VideoFaces()
    with VideoReader(path) as reader:
        for frame in reader.frames():
            image = reader.converter.convert(frame)
            assert image is not None
            found.size = image.shape[1], image.shape[0]
            found.times.append(reader.seconds(frame))
    line = Line(1)
    for number in range(len(found.times)):
        line.add(number, box)
    found.lines = [line]
    return Plan(found, [], RedactionChoice(), margin=1.5)


def redacted(path: Path, out: Path, options: RedactionOptions = OPTIONS, box: Any = BOX) -> Any:
    with written(out) as part:
        return recode(path, part, out, plan_of(path, box), options)


def shown(path: Path) -> list[Image]:
    """The pictures as players show them."""
    with VideoReader(path) as reader:
        return [np.asarray(reader.converter.convert(frame)) for frame in reader.frames()]


def packets(path: Path, kind: str) -> list[Any]:
    with av.open(str(path)) as container:
        found = [p for p in container.demux() if p.stream.type == kind and p.size]
        times = sorted(float(p.pts * p.time_base) for p in found if p.pts is not None)
        return [round(at, 5) for at in times] if kind == "video" else [bytes(p) for p in found]


def noise(index: int, size: tuple[int, int]) -> Image:
    width, height = size
    rng = np.random.default_rng(index)
    coarse = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8)), np.uint8)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("mkv", "libx264", "yuv422p"),
        ("mov", "libx265", "yuv420p10le"),
        ("webm", "libvpx-vp9", "yuv420p"),
        ("mkv", "libsvtav1", "yuv420p10le"),
        ("webm", "libvpx", "yuv420p"),
        ("ts", "libx264", "yuv420p"),
    ],
)
def test_codec_pixels_and_times_are_kept(
    tmp_path: Path, suffix: str, codec: str, pixels: str
) -> None:
    clip = make_clip(
        tmp_path / f"in.{suffix}", codec=codec, pixel_format=pixels, frames=8, fps=10, draw=noise
    )
    done = redacted(clip, out := tmp_path / f"out.{suffix}")
    assert (done.frames, done.codec[0]) == (8, done.codec[0])
    assert done.notes == []
    with av.open(str(clip)) as old, av.open(str(out)) as new:
        before, after = old.streams.video[0].codec_context, new.streams.video[0].codec_context
        assert (before.name, before.pix_fmt) == (after.name, after.pix_fmt)
        assert old.duration == pytest.approx(new.duration, abs=2e4)
    first, second = packets(clip, "video"), packets(out, "video")
    # MPEG-TS begins where its muxer wants; the steps are the same.
    assert np.allclose(np.diff(first), np.diff(second), atol=2e-3)
    for old_image, new_image in zip(shown(clip), shown(out), strict=True):
        middle = new_image[50:60, 65:75].reshape(-1, 3)
        assert middle.std() < 6
        assert abs(middle.mean() - 95) < 25
        assert np.abs(old_image[80:].astype(int) - new_image[80:]).mean() < 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's threads become real-time")
def test_an_encoder_leaves_no_thread_real_time(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec="libsvtav1", frames=8, draw=noise)
    policies: set[int] = set()

    def look(*_: object) -> None:
        threads = Path("/proc/self/task").iterdir()
        policies.update(os.sched_getscheduler(int(thread.name)) for thread in threads)

    redacted(clip, tmp_path / "out.mkv", RedactionOptions(on_progress=look))
    assert policies == {os.SCHED_OTHER}


def test_a_variable_rate_keeps_every_time(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.2, 0.21, 0.5, 1.1]
    clip = make_clip(tmp_path / "in.mp4", frames=6, times=times)
    redacted(clip, out := tmp_path / "out.mp4")
    assert packets(clip, "video") == packets(out, "video")


def test_sound_is_copied_and_metadata_is_not(tmp_path: Path) -> None:
    tags = {"title": "Ada at home", "location": "+52.5+013.4/", "comment": "secret"}
    clip = make_clip(tmp_path / "in.mp4", audio=True, metadata=tags)
    redacted(clip, out := tmp_path / "out.mp4")
    assert packets(clip, "audio") == packets(out, "audio")
    assert not {"title", "location", "comment"} & set(_metadata(out))
    redacted(clip, out, RedactionOptions(audio=False))
    assert streams_of(out) == ["video"]


def _metadata(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return dict(container.metadata)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_stays_turned(tmp_path: Path, degrees: int) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=4, rotate=degrees, draw=noise)
    redacted(clip, out := tmp_path / "out.mp4")
    for before, after in zip(shown(clip), shown(out), strict=True):
        assert before.shape == after.shape
        far = np.abs(before.astype(int) - after).max(axis=2) > 60
        y, x = np.nonzero(far)
        # Covered is where the face is in the picture as it is shown.
        assert x.min() >= 40
        assert x.max() <= 100
        assert y.min() >= 20
        assert y.max() <= 90


def test_wide_pixels_are_kept(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=3, pixel_ratio=Fraction(2, 1), draw=noise)
    redacted(clip, out := tmp_path / "out.mp4", box=BOX * [2, 1, 2, 1])
    with av.open(str(out)) as new:
        assert new.streams.video[0].sample_aspect_ratio == 2
    assert np.ptp(shown(out)[1][50:60, 135:145].astype(int)) < 20


def test_cover_pictures_are_left_out(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "plain.mp4", frames=4)
    with_cover = tmp_path / "in.mp4"
    with av.open(str(clip)) as old, av.open(str(with_cover), "w") as new:
        video = old.streams.video[0]
        copy = new.add_stream_from_template(video)
        cover: Any = new.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame(32, 32, "yuvj420p")
        for packet in old.demux(video):
            if packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
        new.mux(cover.encode(picture))
        new.mux(cover.encode(None))
    done = redacted(with_cover, out := tmp_path / "out.mp4")
    assert streams_of(out) == ["video"]
    assert len(done.notes) == 1
    assert "left out" in done.notes[0]


def test_subtitles_are_copied(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "plain.mp4", frames=10)
    text = tmp_path / "words.srt"
    text.write_text("1\n00:00:00,100 --> 00:00:00,500\nHello\n")
    both = tmp_path / "in.mkv"
    with av.open(str(clip)) as old, av.open(str(text)) as words, av.open(str(both), "w") as new:
        sources = old.streams.video[0], words.streams.subtitles[0]
        copies = [new.add_stream_from_template(source) for source in sources]
        for source, copy in zip(sources, copies, strict=True):
            for packet in (words if copy is copies[1] else old).demux(source):
                if packet.dts is not None:
                    packet.stream = copy
                    new.mux(packet)
    redacted(both, out := tmp_path / "out.mkv")
    assert streams_of(out) == ["video", "subtitle"]
    assert packets(both, "subtitle") == packets(out, "subtitle")


def test_an_old_codec_becomes_h264_with_a_note(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", codec="mpeg4", frames=4)
    done = redacted(clip, tmp_path / "out.mp4")
    assert done.codec == ("mpeg4", "h264")
    assert "no encoder of mpeg4" in done.notes[0]


def test_what_a_container_cannot_hold_is_one_line(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", audio=True, frames=4)
    with pytest.raises(OutputError, match=r"cannot hold|cannot write"):
        redacted(clip, tmp_path / "out.webm")
    with pytest.raises(OutputError, match="ends in"):
        redacted(clip, tmp_path / "out.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_cancelled_redaction_leaves_nothing(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=20)
    (out := tmp_path / "out.mp4").write_bytes(b"earlier")
    cancel = threading.Event()
    options = RedactionOptions(cancel=cancel, on_progress=lambda now: cancel.set())
    with pytest.raises(RedactionCancelled):
        redacted(clip, out, options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    assert out.read_bytes() == b"earlier"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=40, size=(320, 240), draw=noise)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    plan = plan_of(clip)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with (
            pytest.raises(OutputError, match=r"cannot write .*out\.mp4: File too large"),
            written(tmp_path / "out.mp4") as part,
        ):
            recode(clip, part, tmp_path / "out.mp4", plan, OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_video_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=6)
    plan = plan_of(clip)
    make_clip(clip, frames=9)
    with pytest.raises(OutputError, match="changed"), written(tmp_path / "out.mp4") as part:
        recode(clip, part, tmp_path / "out.mp4", plan, OPTIONS)


def test_colours_are_described_as_in_the_source(tmp_path: Path) -> None:
    colours = {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=on"}
    clip = make_clip(tmp_path / "in.mp4", frames=3, encoder=colours)
    redacted(clip, out := tmp_path / "out.mp4")
    with av.open(str(clip)) as old, av.open(str(out)) as new:
        first, second = next(old.decode(video=0)), next(new.decode(video=0))
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            assert getattr(first, name) == getattr(second, name)


def test_a_video_that_changes_its_size_is_covered_in_the_first_one(tmp_path: Path) -> None:
    parts = [
        make_clip(tmp_path / f"{n}.h264", frames=3, size=size, draw=noise)
        for n, size in enumerate([(160, 120), (320, 240)])
    ]
    clip = join_clips(tmp_path / "in.h264", parts)
    plan = plan_of(clip)
    with written(tmp_path / "out.mkv") as part:
        assert recode(clip, part, tmp_path / "out.mkv", plan, OPTIONS).frames == 6
    images = shown(tmp_path / "out.mkv")
    assert {image.shape for image in images} == {(120, 160, 3)}
    # The face has the same place in pixels of the larger pictures: half as far in the smaller.
    assert images[1][50:60, 65:75].reshape(-1, 3).std() < 6
    assert images[4][25:30, 32:38].reshape(-1, 3).std() < 6
    assert images[4][60:110, 60:150].reshape(-1, 3).std() > 30
