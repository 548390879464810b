"""Video files: what decodes is delivered, what does not is counted and said."""

from __future__ import annotations

import gc
import time
import weakref
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.types import Frame
from facestream.pipeline.sources import FileSource, SourceOptions, SourceSpec, open_source
from facestream.pipeline.sources.base import DEFAULTS
from PIL import Image as Pillow

from tests.media import (
    damage,
    encoded_frames,
    join_clips,
    levels,
    make_clip,
    make_sound,
    picture,
    truncate,
)

FASTSTART = {"movflags": "faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def read(path: Path, options: SourceOptions = DEFAULTS) -> tuple[list[Frame], FileSource]:
    source = open_source(path, options)
    assert isinstance(source, FileSource)
    with source:
        return list(source), source


def brightness(frames: list[Frame]) -> list[int]:
    return levels(frame.image for frame in frames)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.mov", "libx264", "yuv420p"),
        ("clip.mkv", "libx264", "yuv420p"),
        ("clip.ts", "libx264", "yuv420p"),
        ("clip.avi", "mjpeg", "yuvj420p"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("10bit.mkv", "libx264", "yuv420p10le"),
        ("grey.mkv", "ffv1", "gray"),
    ],
)
def test_reads_every_frame_in_order(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    path = make_clip(tmp_path / name, frames=25, codec=codec, pixel_format=pixel_format)
    frames, source = read(path)
    assert [frame.index for frame in frames] == list(range(25))
    assert source.decoded == 25
    assert (source.corrupt, source.problems, source.live) == (0, [], False)
    assert np.allclose([f.pts for f in frames], np.arange(25) / 10, atol=0.002)
    assert all(frame.source == str(path) and not frame.still for frame in frames)
    got = np.array(brightness(frames), np.int64)
    want = np.array(levels(picture(n, (160, 120)) for n in range(25)), np.int64)
    assert np.abs(got - want).max() <= 6
    assert (source.info.width, source.info.height, source.info.fps) == (160, 120, 10)
    assert source.info.duration == pytest.approx(2.5, abs=0.01)


def test_colours_are_bgr(tmp_path: Path) -> None:
    blue = np.zeros((64, 64, 3), np.uint8)
    blue[..., 0] = 255
    path = make_clip(tmp_path / "blue.mp4", frames=2, size=(64, 64), draw=lambda *_: blue)
    frames, _ = read(path)
    image = frames[0].image
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    assert np.abs(image.reshape(-1, 3).mean(axis=0) - (255, 0, 0)).max() < 8


def test_frames_do_not_share_memory(tmp_path: Path) -> None:
    frames, _ = read(make_clip(tmp_path / "clip.mp4", frames=5))
    before = [frame.image.copy() for frame in frames]
    frames[0].image[:] = 0
    for frame, image in zip(frames[1:], before[1:], strict=True):
        assert np.array_equal(frame.image, image)


@pytest.mark.parametrize("size", [(161, 121), (97, 33), (17, 16)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make_clip(tmp_path / "odd.mkv", frames=3, size=size, pixel_format="yuv444p")
    frames, source = read(path)
    assert {frame.image.shape for frame in frames} == {(size[1], size[0], 3)}
    assert (source.info.width, source.info.height) == size
    assert np.abs(frames[2].image.astype(int) - picture(2, size)).mean() < 6


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 0.6, 1.9, 2.0, 2.04, 2.08, 4.5]
    frames, source = read(make_clip(tmp_path / "vfr.mp4", frames=len(times), times=times))
    assert np.allclose([frame.pts for frame in frames], times, atol=0.002)
    assert source.problems == []


@pytest.mark.parametrize(
    ("degrees", "turn"),
    [(90, cv2.ROTATE_90_CLOCKWISE), (180, cv2.ROTATE_180), (270, cv2.ROTATE_90_COUNTERCLOCKWISE)],
)
def test_rotation_is_honoured(tmp_path: Path, degrees: int, turn: int) -> None:
    frames, source = read(make_clip(tmp_path / "phone.mp4", frames=3, rotate=degrees))
    want = cv2.rotate(picture(1, (160, 120)), turn)
    assert frames[1].image.shape == want.shape
    assert np.abs(frames[1].image.astype(int) - want).mean() < 6
    assert (source.info.height, source.info.width) == want.shape[:2]


def test_pixels_become_square(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "tv.mp4", frames=2, pixel_ratio=Fraction(4, 3))
    frames, source = read(path)
    assert frames[0].image.shape == (120, 213, 3)
    assert (source.info.width, source.info.height) == (213, 120)


@pytest.mark.parametrize("suffix", ["ts", "h264"])
def test_size_may_change_midway(tmp_path: Path, suffix: str) -> None:
    parts = [
        make_clip(tmp_path / f"small.{suffix}"),
        make_clip(tmp_path / f"large.{suffix}", size=(320, 240)),
    ]
    frames, source = read(join_clips(tmp_path / f"both.{suffix}", parts))
    assert [frame.image.shape[:2] for frame in frames] == [(120, 160)] * 20 + [(240, 320)] * 20
    pts = [frame.pts for frame in frames]
    assert pts == sorted(pts)  # the second part's clock starts again; ours goes on
    assert len(set(pts)) == 40
    # A transport stream counts its packets: the seam looks like one that was lost.
    assert source.corrupt == (1 if suffix == "ts" else 0)


def test_sound_beside_the_picture_changes_nothing(tmp_path: Path) -> None:
    frames, source = read(make_clip(tmp_path / "talk.mp4", audio=True))
    assert len(frames) == 20
    assert source.problems == []


@pytest.mark.parametrize("every", [2, 4, 7])
def test_only_every_nth_frame_is_delivered_at_its_own_time(tmp_path: Path, every: int) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=25)
    whole, _ = read(path)
    frames, source = read(path, SourceOptions(every=every))
    assert [frame.index for frame in frames] == list(range(0, 25, every))
    assert [frame.pts for frame in frames] == [frame.pts for frame in whole[::every]]
    for frame, same in zip(frames, whole[::every], strict=True):
        assert np.array_equal(frame.image, same.image)
    assert (source.decoded, source.skipped) == (25, 25 - len(frames))
    assert source.problems == []


def test_every_must_be_positive() -> None:
    with pytest.raises(ValueError, match="every must be at least 1, not 0"):
        SourceOptions(every=0)


def test_max_frames(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    frames, source = read(path, SourceOptions(max_frames=7))
    assert len(frames) == source.decoded == 7
    assert source.problems == []
    with pytest.raises(ValueError, match="max_frames must be at least 1"):
        SourceOptions(max_frames=0)


def test_stop_ends_soon_and_is_no_problem(tmp_path: Path) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4")) as source:
        frames = iter(source)
        next(frames)
        next(frames)
        source.stop()
        assert list(frames) == []
        assert source.decoded == 2
        assert source.problems == []


def test_iterating_after_close_ends(tmp_path: Path) -> None:
    source = open_source(make_clip(tmp_path / "clip.mp4"))
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_is_iterated_once(tmp_path: Path) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4")) as source:
        assert len(list(source)) == 20
        with pytest.raises(RuntimeError, match="iterated already"):
            iter(source)


def test_utc_from_the_container(tmp_path: Path) -> None:
    recorded = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)
    path = make_clip(
        tmp_path / "clip.mp4", metadata={"creation_time": recorded.strftime("%Y-%m-%dT%H:%M:%SZ")}
    )
    frames, source = read(path)
    assert source.info.clock == "container"
    assert frames[10].utc == pytest.approx(recorded.timestamp() + 1.0)


@pytest.mark.parametrize("text", [None, "1970-01-01T00:00:00Z", "2036-01-01T00:00:00Z"])
def test_utc_from_the_clock_when_the_container_has_none(tmp_path: Path, text: str | None) -> None:
    before = time.time()
    path = make_clip(tmp_path / "clip.mp4", metadata={"creation_time": text} if text else {})
    frames, source = read(path)
    assert source.info.clock == "opened"
    assert before <= frames[0].utc <= time.time()
    assert frames[10].utc == pytest.approx(frames[0].utc + 1.0)


@pytest.mark.parametrize("audio", [False, True])
def test_truncated_mp4_delivers_what_there_is(tmp_path: Path, audio: bool) -> None:
    path = make_clip(tmp_path / "cut.mp4", frames=100, audio=audio, options=FASTSTART)
    frames, source = read(truncate(path, 0.6))
    assert 45 < len(frames) < 65
    assert f"truncated: {len(frames)} of 100 frames" in source.problems
    assert brightness(frames[:3]) == brightness(read(make_clip(tmp_path / "ok.mp4"))[0][:3])


@pytest.mark.parametrize("name", ["cut.mkv", "cut.avi"])
def test_truncated_elsewhere_is_said_too(tmp_path: Path, name: str) -> None:
    frames, source = read(truncate(make_clip(tmp_path / name, frames=100), 0.6))
    assert 45 < len(frames) < 65
    assert source.problems[0].startswith("truncated: ")


def test_truncated_fragmented_mp4(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", frames=100, options=FRAGMENTED)
    assert read(whole)[1].problems == []
    frames, source = read(truncate(whole, 0.6))
    assert 45 < len(frames) < 65
    assert source.problems[0].startswith("truncated: ")


def test_truncated_transport_stream_still_plays(tmp_path: Path) -> None:
    frames, _ = read(truncate(make_clip(tmp_path / "cut.ts", frames=100), 0.6))
    assert 45 < len(frames) < 65


def test_truncated_before_the_index_is_one_clear_line(tmp_path: Path) -> None:
    path = truncate(make_clip(tmp_path / "cut.mp4", frames=100), 0.6)
    with pytest.raises(SourceError, match=r"cut\.mp4 is cut short.*\(moov\)"):
        open_source(path)


@pytest.mark.parametrize("name", ["bad.mp4", "bad.mkv", "bad.ts"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_corrupt_packets_are_counted_and_skipped(tmp_path: Path, name: str, seed: int) -> None:
    path = make_clip(tmp_path / name, frames=100, options=FASTSTART if "mp4" in name else None)
    whole = encoded_frames(path)
    frames, source = read(damage(path, start=0.5, length=2000, seed=seed))
    assert 70 < len(frames) <= whole
    assert source.corrupt > 0
    assert f"damaged packets or frames: {source.corrupt}" in source.problems
    assert frames[-1].pts == pytest.approx(9.9, abs=0.3)  # it goes on behind the damage


def test_cut_before_the_first_frame(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "cut.mp4", frames=100, options=FASTSTART)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 10])
    with pytest.raises(SourceError, match="no frame that can be decoded"):
        open_source(path)


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        FileSource(SourceSpec("video", str(path), path.name))
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "gone.mp4")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "directory" in refused(tmp_path)


def test_text_named_mp4(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video\n" * 500)
    assert "is not a video" in refused(path)


def test_text_is_not_played_as_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a video\n" * 500)
    assert "is not a video" in refused(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "is empty (0 bytes)" in refused(path)


@pytest.mark.parametrize("name", ["sound.m4a", "sound.mp4"])
def test_audio_only(tmp_path: Path, name: str) -> None:
    assert "sound only" in refused(make_sound(tmp_path / name))


def test_playlists_do_not_reach_into_the_network(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    refused(path)


def test_colon_in_the_name_is_no_protocol(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    path = clip.rename(tmp_path / "http:clip.mp4")
    assert len(read(path)[0]) == 20


def test_a_picture_that_only_ffmpeg_knows_is_still(tmp_path: Path) -> None:
    path = tmp_path / "photo.dat"
    Pillow.fromarray(picture(1, (40, 30))).save(path, "PCX")
    frames, _ = read(path)
    assert [frame.still for frame in frames] == [True]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_leaked_file_descriptors(tmp_path: Path) -> None:
    good = make_clip(tmp_path / "good.mp4")
    cut = truncate(make_clip(tmp_path / "cut.mkv", frames=60), 0.5)
    text = tmp_path / "text.mp4"
    text.write_text("no video\n" * 100)
    sound = make_sound(tmp_path / "sound.mp4")

    def use_all() -> None:
        read(good)
        read(cut)
        with open_source(good) as source:
            next(iter(source))  # left in the middle
        for path in (text, sound):
            with pytest.raises(SourceError):
                open_source(path)

    use_all()
    before = open_descriptors()
    for _ in range(10):
        use_all()
    assert open_descriptors() == before


@pytest.mark.shared_data
def test_shared_videos_are_whole(shared_data: Path) -> None:
    frames, source = read(shared_data / "videos" / "hamilton_640x360.mp4")
    assert len(frames) == source.info.frames == 275
    assert source.problems == []
    # Its sound begins before the picture: the times are those that a player shows.
    assert frames[0].pts == pytest.approx(0.844, abs=0.001)


def test_a_closed_source_is_freed_at_once(tmp_path: Path) -> None:
    # Not when Python next looks for reference cycles: a decoder holds many pictures.
    source = open_source(make_clip(tmp_path / "clip.mp4", frames=10))
    next(iter(source))
    left = weakref.ref(source)
    gc.collect()
    gc.disable()
    try:
        source.close()
        del source
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_file_that_is_deleted_while_it_is_read_is_read_whole(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_source(make_clip(tmp_path / name, frames=30)) as source:
        frames = iter(source)
        next(frames)
        (tmp_path / name).unlink()
        assert len(list(frames)) == 29
        assert source.problems == []
    if name == "clip.mp4":  # the only one that is looked at again
        assert f"{tmp_path / name} is gone (No such file or directory)" in caplog.text
