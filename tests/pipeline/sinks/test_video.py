"""Annotated video: it plays, keeps time, and its labels stay in the picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.sinks.video.files import VideoSink
from facestream.pipeline.sinks.video.labels import INK, Label, plate
from facestream.pipeline.sinks.video.mp4 import Mp4Writer
from facestream.pipeline.sinks.video.overlay import (
    KNOWN,
    UNKNOWN,
    draw_tracks,
    label_of,
    places,
    text_size,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.tracks import picture, read_video, result, track


def write(path: Path, *frames: object, naming: str = "single") -> VideoSink:
    sink = VideoSink(path, naming="single" if naming == "single" else "per_source")
    for frame in frames:
        sink.write(frame)  # type: ignore[arg-type]
    sink.close()
    return sink


def test_the_file_is_what_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, *(result(picture(), track(), index=n, pts=n / 25) for n in range(10)))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index must come first"
    with av.open(str(path), "r") as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (64, 48)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_times_are_those_of_the_source(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.52, 1.75, 1.8]
    path = tmp_path / "out.mp4"
    write(path, *(result(picture(), index=n, pts=pts) for n, pts in enumerate(times)))
    assert read_video(path)[1] == pytest.approx(times, abs=1e-3)


def test_a_late_first_frame_is_shown_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, *(result(picture(), index=n, pts=0.8 + n / 10) for n in range(3)))
    assert read_video(path)[1] == pytest.approx([0.0, 0.9, 1.0], abs=1e-3)


def test_a_clock_that_goes_back_does_not_stop_the_video(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    times = [0.0, 0.1, 0.2, 0.05, 0.15, 0.15]
    write(path, *(result(picture(), index=n, pts=pts) for n, pts in enumerate(times)))
    written = read_video(path)[1]
    assert len(written) == 6
    assert written == sorted(set(written))


def test_stills_are_shown_a_second_each(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, *(result(picture(), index=n, still=True) for n in range(3)))
    assert read_video(path)[1] == pytest.approx([0, 1, 2])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((63, 47), (64, 48)), ((1, 1), (2, 2)), ((65, 48), (66, 48)), ((6000, 20), (4096, 14))],
)
def test_odd_tiny_and_huge_sizes(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    path = tmp_path / "out.mp4"
    write(path, result(picture(*size), track()), result(picture(*size), index=1, pts=0.1))
    pictures, _ = read_video(path)
    assert (pictures[0].shape[1], pictures[0].shape[0]) == expected


def test_a_change_of_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    frames = [
        result(picture(160, 120, shade=200)),
        result(picture(120, 120, shade=200), track((0, 60, 120, 120)), index=1, pts=0.1),
        result(picture(640, 120, shade=200), index=2, pts=0.2),
    ]
    write(path, *frames)
    pictures, _ = read_video(path)
    assert {p.shape for p in pictures} == {(120, 160, 3)}
    # 120×120 lies between black bars of 20 pixels at the left and right, the box with it.
    middle = pictures[1][20]
    assert middle[:18].max() < 40
    assert middle[24:136].min() > 160
    # 640×120 is shrunk to a quarter, with bars above and below.
    assert pictures[2][:40].max() < 40
    assert pictures[2][50:70].min() > 160


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    for colour in ((200, 60, 40), (40, 60, 200), (60, 200, 60)):
        image = np.full((48, 64, 3), colour, np.uint8)
        write(path, result(image))
        shown = read_video(path)[0][0].reshape(-1, 3).mean(axis=0)
        assert shown == pytest.approx(colour, abs=6)


def test_frames_are_not_changed(tmp_path: Path) -> None:
    image = picture()
    before = image.copy()
    write(tmp_path / "out.mp4", result(image, track(name="Ada")))
    assert np.array_equal(image, before)


def test_several_sources_have_a_file_each(tmp_path: Path) -> None:
    frames = [
        result(picture(), source=source, index=n, pts=n / 10)
        for n in range(2)
        for source in ("/a/one.mp4", "/b/one.mp4", "rtsp://host/two")
    ]
    sink = write(tmp_path / "out.mp4", *frames, naming="per_source")
    assert [path.name for path in sink.paths] == ["out-one.mp4", "out-one-2.mp4", "out-two.mp4"]
    for path in sink.paths:
        assert len(read_video(path)[0]) == 2


@pytest.mark.parametrize("naming", ["single", "per_source"])
def test_a_source_that_comes_again_has_another_file(tmp_path: Path, naming: str) -> None:
    sink = write(tmp_path / "out.mp4", naming=naming)
    for count in (3, 2):
        for number in range(count):
            sink.write(result(picture(), source="a", index=number, pts=number / 10))
        sink.source_ended("a")
    sink.close()
    assert [len(read_video(path)[0]) for path in sink.paths] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("stem", ["s" * 251, "東京駅" * 27])
def test_long_names_are_cut(tmp_path: Path, stem: str) -> None:
    source = "正面玄関のカメラ" * 60
    with VideoSink(tmp_path / f"{stem}.mp4", naming="per_source") as sink:
        sink.write(result(picture(), source=source))
        sink.write(result(picture(), source=f"{source}2"))
    assert [len(read_video(path)[0]) for path in sink.paths] == [1, 1]
    for path in sink.paths:
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat"), "the index is rewritten, too"


def test_a_second_source_into_a_single_file_is_refused(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.mp4") as sink:
        sink.write(result(picture(), source="a"))
        with pytest.raises(OutputError, match="is for one source, but 'b' came too"):
            sink.write(result(picture(), source="b"))


def test_a_source_that_ended_has_its_file_finished(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", naming="per_source")
    sink.write(result(picture(), source="a"))
    sink.source_ended("a")
    sink.source_ended("never seen")
    assert len(read_video(tmp_path / "out-a.mp4")[0]) == 1
    sink.close()


def test_what_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.mp4"):
        VideoSink(tmp_path / "out.avi")
    with pytest.raises(OutputError, match="there is no folder"):
        VideoSink(tmp_path / "nowhere" / "out.mp4")
    VideoSink(tmp_path / "out.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").symlink_to("/dev/full")
    sink = VideoSink(tmp_path / "out.mp4")
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)

    def fill() -> None:
        for number in range(200):
            sink.write(result(noise, index=number, pts=number / 25))

    with pytest.raises(OutputError, match="No space left on device"):
        fill()
    sink.close()
    held = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert "/dev/full" not in {os.path.realpath(link) for link in held}


def test_every_fragment_is_in_the_file_when_it_is_written(tmp_path: Path) -> None:
    writer = Mp4Writer(tmp_path / "out.mp4", (48, 64))
    for number in range(101):
        writer.draw(result(picture(), index=number, pts=number / 25))
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.count(b"mdat") == 2
    assert len(read_video(tmp_path / "out.mp4")[0]) == 100
    writer.close()


KILLED = """
import os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import conftest
from facestream.pipeline.sinks.video.mp4 import Mp4Writer
from facestream.pipeline.sinks.video.files import VideoSink
from facestream.pipeline.core.types import Frame, FrameResult
import numpy as np
image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
sink = VideoSink(Path(sys.argv[1]))
for n in range(120):
    sink.write(FrameResult(Frame("a", n, n / 25, 0.0, 0.0, image)))
os._exit(9)
"""


def test_a_killed_run_leaves_a_video_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(root)], check=False, timeout=120
    )
    assert done.returncode == 9
    assert len(read_video(path)[0]) >= 50


# --- labels ---------------------------------------------------------------------------------


def test_known_and_unknown_differ_in_colour_and_words() -> None:
    known = label_of(track(name="Ada"))
    assert (known.name, known.detail, known.colour) == ("Ada", "0.87 σ0.20", KNOWN)
    unknown = label_of(track())
    assert (unknown.name, unknown.detail, unknown.colour) == ("unknown", "0.30 σ0.20", UNKNOWN)
    assert label_of(track(reason="no_gallery")).detail == "σ0.20"
    assert label_of(track(sigma=float("inf"))).detail == "0.30"


def test_text_grows_with_the_picture() -> None:
    assert text_size(640, 360) == 14
    assert 28 <= text_size(1920, 1080) <= 36
    assert text_size(1080, 1920) == text_size(1920, 1080)


@pytest.mark.parametrize("name", ["Ada Lovelace", "Zoë Žižek", "Владимир", "山田太郎", "한국어"])
def test_names_in_any_script_are_written(name: str) -> None:
    if not hasattr(cv2, "FontFace") and not name.isascii():
        pytest.skip("OpenCV 4 has no fonts; names are written in ASCII")
    drawn = plate(Label(name, "", KNOWN), 20, 400)
    question = plate(Label("?" * len(name), "", KNOWN), 20, 400)
    assert (np.abs(drawn.astype(int) - INK).sum(axis=2) < 60).sum() > 20
    assert drawn.shape != question.shape or not np.array_equal(drawn, question)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=12), st.integers(8, 60), st.integers(1, 300))
def test_a_plate_is_never_wider_than_allowed(
    name: str, detail: str, size: int, widest: int
) -> None:
    drawn = plate(Label(name, detail, KNOWN), size, widest)
    assert 1 <= drawn.shape[1] <= widest


BOX = st.tuples(*[st.integers(-400, 900)] * 4)


@given(BOX, st.integers(2, 500), st.integers(2, 400), st.data())
def test_places_lie_inside_the_picture(
    box: tuple[int, int, int, int], width: int, height: int, data: st.DataObject
) -> None:
    size = data.draw(st.tuples(st.integers(1, width), st.integers(1, height)))
    found = places(box, size, (width, height))
    assert found
    for x1, y1, x2, y2 in found:
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert (x2 - x1, y2 - y1) == size


@settings(max_examples=60, deadline=None)
@given(st.lists(BOX, max_size=6), st.integers(1, 300), st.integers(1, 200), st.text(max_size=30))
def test_any_boxes_on_any_picture_can_be_drawn(
    boxes: list[tuple[int, int, int, int]], width: int, height: int, name: str
) -> None:
    canvas = picture(width, height)
    draw_tracks(canvas, [track(box, name=name if n % 2 else None) for n, box in enumerate(boxes)])
    assert canvas.shape == (height, width, 3)


def test_plates_do_not_cover_other_faces_or_plates() -> None:
    canvas = picture(640, 360)
    boxes = [(200 + 45 * n, 150, 235 + 45 * n, 190) for n in range(5)]
    draw_tracks(canvas, [track(box) for box in boxes])
    inside = [canvas[y1 + 6 : y2 - 6, x1 + 6 : x2 - 6] for x1, y1, x2, y2 in boxes]
    assert all((part == 128).all() for part in inside)
