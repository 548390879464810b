"""Hardware decoders: what is chosen, what is believed, and the CPU taking over without a loss.

There is no such hardware here. A decoder that stands for it gives NV12 as the real ones do, and
fails where a test wants it to; the processes that try a driver are real.
"""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.types import Frame
from facestream.pipeline.sources import (
    SourceOptions,
    SourceSpec,
    StdinSource,
    decide,
    hardware,
    open_source,
    prove_decoder,
)
from facestream.pipeline.sources import codec as codec_module
from facestream.pipeline.sources.codec import Codec
from facestream.pipeline.sources.decode import Decoder
from facestream.pipeline.sources.hardware import (
    Capability,
    Decoding,
    capability,
    prove,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media import join_clips, make_clip
from tests.pipeline.sources.hardware import (
    HARDWARE,
    Simulated,
    Simulation,
    lost,
    simulated,
)


def read(path: Path, decoding: Decoding) -> tuple[list[Frame], list[tuple[str, str, str | None]]]:
    told: list[tuple[str, str, str | None]] = []
    options = SourceOptions(decoding=decoding, on_decoder=lambda *news: told.append(news))
    with open_source(path, options) as source:
        frames = list(source)
        assert source.decoded == len(frames)
        assert (source.corrupt, source.problems) == (0, [])
    return frames, told


def assert_same(got: list[Frame], want: list[Frame]) -> None:
    assert [frame.index for frame in got] == [frame.index for frame in want]
    assert [frame.pts for frame in got] == [frame.pts for frame in want]
    for mine, reference in zip(got, want, strict=True):
        assert np.array_equal(mine.image, reference.image)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames, B-frames between, a key frame every 12."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    return make_clip(path, frames=40, encoder={"bf": "3", "g": "12", "b-adapt": "0"})


# What comes out


def test_hardware_gives_the_cpus_pictures_to_the_bit(clip: Path) -> None:
    want, by_cpu = read(clip, hardware.BY_CPU)
    got, told = read(clip, simulated())
    assert_same(got, want)
    assert len(want) == 40
    assert by_cpu == [(str(clip), "cpu", None)]
    assert told == [(str(clip), "cuda", None)]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("10bit.mkv", "libx265", "yuv420p10le"),
        ("full.mkv", "libx264", "yuvj420p"),
        ("av1.mkv", "libsvtav1", "yuv420p"),
    ],
)
def test_other_codecs_and_depths_that_were_proved(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    path = make_clip(tmp_path / name, frames=8, codec=codec, pixel_format=pixel_format)
    want, _ = read(path, hardware.BY_CPU)
    got, told = read(path, simulated())
    assert [decoder for _, decoder, _ in told] == ["cuda"]
    assert_same(got, want)


def test_a_rotated_video_stays_upright(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "phone.mp4", frames=6, rotate=90)
    want, _ = read(path, hardware.BY_CPU)
    got, told = read(path, simulated())
    assert want[0].image.shape[:2] == (160, 120)
    assert told[-1][1] == "cuda"
    assert_same(got, want)


# The CPU takes over


@pytest.mark.parametrize("packet", [0, 1, 2, 5, 11, 12, 13, 14, 15, 25, 36, 39, 40])
def test_a_device_that_is_lost_costs_no_frame(
    clip: Path, packet: int, caplog: pytest.LogCaptureFixture
) -> None:
    want, _ = read(clip, hardware.BY_CPU)
    with caplog.at_level(logging.WARNING, "facestream"):
        got, told = read(clip, simulated(lost(packet)))
    assert_same(got, want)
    # With three B-frames the first picture comes out with the third packet or so.
    why = "unsupported" if packet < 3 else "failed"
    assert told[-1] == (str(clip), "cpu", why)
    assert len(caplog.messages) == 1
    assert "the CPU decodes, not cuda: device lost" in caplog.messages[0]


@given(
    packet=st.integers(0, 20),
    group=st.integers(1, 12),
    between=st.integers(0, 4),
)
@settings(max_examples=20)
def test_whatever_the_order_of_the_frames_none_is_lost(
    packet: int, group: int, between: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = make_clip(
        tmp_path_factory.mktemp("any") / "clip.mkv",
        size=(64, 48),
        encoder={"bf": str(between), "g": str(group), "b-adapt": "0", "b-pyramid": "normal"},
    )
    want, _ = read(path, hardware.BY_CPU)
    got, told = read(path, simulated(lost(packet)))
    assert_same(got, want)
    assert told[-1][1] == "cpu"


def test_open_groups_of_hevc(tmp_path: Path) -> None:
    """Pictures before a key frame that need the group before it."""
    x265 = "keyint=8:min-keyint=8:open-gop=1:bframes=3:log-level=none"
    path = make_clip(
        tmp_path / "open.mkv",
        frames=24,
        codec="libx265",
        pixel_format="yuv420p10le",
        encoder={"x265-params": x265},
    )
    want, _ = read(path, hardware.BY_CPU)
    for packet in range(25):
        got, _ = read(path, simulated(lost(packet)))
        assert_same(got, want)


def test_a_device_that_takes_everything_and_gives_nothing(clip: Path) -> None:
    want, _ = read(clip, hardware.BY_CPU)
    got, told = read(clip, simulated(mute=True))
    assert_same(got, want)
    assert told[-1][1:] == ("cpu", "failed")


def test_what_the_device_calls_damaged_from_the_first_packet_is_unsupported(clip: Path) -> None:
    want, _ = read(clip, hardware.BY_CPU)
    got, told = read(clip, simulated(lambda _: av.error.InvalidDataError(1, "no frame!")))
    assert_same(got, want)
    assert told[-1][1:] == ("cpu", "unsupported")


def test_a_damaged_packet_is_not_the_devices_fault(clip: Path) -> None:
    damaged = simulated(lambda n: av.error.InvalidDataError(1, "damaged") if n == 20 else None)
    told: list[str] = []
    options = SourceOptions(decoding=damaged, on_decoder=lambda _, who, why: told.append(who))
    with open_source(clip, options) as source:
        frames = list(source)
        assert source.corrupt >= 1
    assert told == ["cuda"]
    assert 30 <= len(frames) < 40


def test_a_device_that_cannot_be_opened(clip: Path) -> None:
    class Closed(Simulated):
        def context(self, like: VideoCodecContext) -> Simulation:
            raise av.error.PermissionError(1, "Operation not permitted")

    want, _ = read(clip, hardware.BY_CPU)
    got, told = read(clip, Closed("cuda", capability=HARDWARE))
    assert_same(got, want)
    assert told == [(str(clip), "cpu", "failed")]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "why"),
    [
        ("10bit.mkv", "libx264", "yuv420p10le", "h264 yuv420p10le is not for NVDEC here: it was"),
        ("444.mkv", "libx264", "yuv444p", "h264 yuv444p is not for NVDEC here: it was not tried"),
        ("camera.avi", "mjpeg", "yuvj420p", "mjpeg yuv420p is not for NVDEC"),
        ("clip.webm", "libvpx-vp9", "yuv420p", "vp9 yuv420p is not for NVDEC here: too old"),
    ],
)
def test_what_was_not_proved_is_decoded_by_the_cpu(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    name: str,
    codec: str,
    pixel_format: str,
    why: str,
) -> None:
    path = make_clip(tmp_path / name, frames=6, codec=codec, pixel_format=pixel_format)
    want, _ = read(path, hardware.BY_CPU)
    with caplog.at_level(logging.WARNING, "facestream"):
        got, told = read(path, simulated())
    assert_same(got, want)
    assert told == [(str(path), "cpu", "unsupported")]
    assert why in caplog.text
    with pytest.raises(SourceError, match="decoding by cuda failed"):
        read(path, simulated(required=True))


def test_hardware_that_was_asked_for_fails_with_its_reason(clip: Path) -> None:
    with (
        open_source(clip, SourceOptions(decoding=simulated(lost(20), required=True))) as source,
        pytest.raises(SourceError, match="decoding by cuda failed: device lost; use --decode cpu"),
    ):
        list(source)


def test_too_long_a_group_is_not_held(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_module, "MOST_HELD", 200)
    want, _ = read(clip, hardware.BY_CPU)
    options = SourceOptions(decoding=simulated(lost(20)))
    with open_source(clip, options) as source:
        got = list(source)
    # From the next key frame (24) on everything is there, nothing twice.
    times = [frame.pts for frame in got]
    assert times == sorted(set(times))
    assert set(times) >= {frame.pts for frame in want[24:]}


def test_a_size_that_the_device_does_not_take_midway(tmp_path: Path) -> None:
    parts = [
        make_clip(tmp_path / "a.ts", frames=15, size=(160, 120)),
        make_clip(tmp_path / "b.ts", frames=15, size=(320, 240)),
    ]
    path = join_clips(tmp_path / "joined.ts", parts)
    with open_source(path) as source:
        want = list(source)
    with open_source(path, SourceOptions(decoding=simulated(lost(15)))) as source:
        got = list(source)
    assert_same(got, want)
    assert {frame.image.shape for frame in got} == {(120, 160, 3), (240, 320, 3)}


def test_a_pipe_that_cannot_be_read_again(clip: Path) -> None:
    """What the hardware could not decode is decoded from memory, not read once more."""
    want, _ = read(clip, hardware.BY_CPU)
    with clip.open("rb") as file:
        source = StdinSource(
            SourceSpec("stdin", "-", "stdin"),
            SourceOptions(decoding=simulated(lost(17))),
            descriptor=file.fileno(),
        )
        with source:
            got = [frame.image for frame in source]
    assert source.fallbacks == ("failed",)
    assert len(got) == len(want)
    assert all(np.array_equal(a, b.image) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("packet", [0, 6, 12])
def test_a_live_stream_goes_on(clip: Path, packet: int) -> None:
    """Low latency, no delay of frames; the connection stays."""
    with av.open(str(clip), mode="r") as container:
        stream = container.streams.video[0]
        codec = Codec(stream, decoding=simulated(lost(packet)), name="door")
        decoder = Decoder(container, stream, threads=1, latency="low", codec=codec)
        pictures = list(decoder.pictures())
    assert len(pictures) == 40
    times = [picture.time for picture in pictures]
    assert times == sorted(times, key=lambda time: time or 0.0)
    assert (codec.decoder, len(codec.fallbacks), decoder.corrupt) == ("cpu", 1, 0)
    assert not decoder.stuck


def test_a_closed_source_gives_its_device_back_at_once(clip: Path) -> None:
    made: list[weakref.ref[Simulation]] = []

    @dataclass(frozen=True)
    class Watched(Simulated):
        def context(self, like: VideoCodecContext) -> Simulation:
            device = super().context(like)
            made.append(weakref.ref(device))
            return device

    gc.disable()
    try:
        for decoding in (
            Watched("cuda", capability=HARDWARE),
            Watched("cuda", capability=HARDWARE, fails=lost(20)),
        ):
            with open_source(clip, SourceOptions(decoding=decoding)) as source:
                assert next(iter(source)) is not None
            del source
    finally:
        gc.enable()
    assert len(made) == 2
    assert [device() for device in made] == [None, None]


# What is chosen


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had been looked for in this process."""
    monkeypatch.setattr(hardware, "_known", {})


@pytest.fixture
def device_file(untried: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A device file of NVIDIA's and one of VA-API's; there is no driver behind them."""
    (tmp_path / "dri").mkdir()
    for name in ("nvidiactl", "nvidia0", "dri/renderD128"):
        (tmp_path / name).touch()
    found = hardware.device_files
    monkeypatch.setattr(hardware, "device_files", lambda kind: found(kind, tmp_path))
    return tmp_path


@pytest.fixture
def no_devices(untried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "device_files", lambda kind: [])


def test_without_a_device_file_nothing_is_started(
    no_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*args: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", started)
    decoding = decide("auto", strict="strict")
    assert (decoding.decoder, decoding.fallback) == ("cpu", False)
    assert not capability("cuda").present
    with pytest.raises(SourceError, match=r"--decode cuda cannot serve: .*NVIDIA driver") as caught:
        decide("cuda")
    assert caught.value.retry == "never"
    with pytest.raises(SourceError, match=r"--decode vaapi cannot serve: .*no /dev/dri"):
        decide("vaapi")


def test_a_device_without_a_driver_is_found_out_by_a_real_process(device_file: Path) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a driver")
    decoding = decide("auto")
    assert (decoding.decoder, decoding.fallback) == ("cpu", True)
    assert "NVDEC: libcuda.so.1 cannot be loaded" in decoding.reason
    with pytest.raises(SourceError, match=r"--strict-device: the CPU would decode: .*libcuda"):
        decide("auto", strict="strict")


def test_vaapi_needs_a_pyav_that_has_it(device_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda", "drm"])
    with pytest.raises(SourceError, match="built without vaapi, as its wheels are"):
        decide("vaapi")


def test_the_hardware_that_works_is_chosen_once(
    device_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str | None] = []

    def works(kind: hardware.Hardware, device: str | None) -> Capability:
        tried.append(device)
        return replace(HARDWARE, kind=kind, device=device)

    monkeypatch.setattr(hardware, "prove", works)
    chosen = decide("auto")
    assert (chosen.decoder, chosen.required, chosen.fallback) == ("cuda", False, False)
    assert decide("auto", strict="strict").required
    assert decide("cuda").required
    assert decide("cpu") is hardware.BY_CPU
    assert tried == [None]
    assert capability("cuda").describe().startswith("NVDEC decodes av1 yuv420p, h264 yuv420p")


def program(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    return path


ANSWER = 'print(\'{"codec": "h264", "pixel_format": "yuv420p", "problem": null}\', flush=True)\n'


@pytest.mark.parametrize(
    ("text", "codecs", "problem"),
    [
        (ANSWER, 1, ""),
        ("print('Svt[info]: chatter')\n" + ANSWER, 1, ""),
        (ANSWER + "import os; os.abort()", 1, ""),
        ("import os; os.abort()", 0, "NVDEC: its driver ended the process that tried it"),
        ("import time; time.sleep(60)", 0, "NVDEC: it hung for 1 s"),
        (ANSWER + "import time; time.sleep(60)", 1, ""),
        ("", 0, "NVDEC: it said nothing"),
        (
            ANSWER.replace("null", '"libnvcuvid.so.1 cannot be loaded"'),
            0,
            "NVDEC: libnvcuvid.so.1 cannot be loaded (in a container set NVIDIA_DRIVER_",
        ),
    ],
)
def test_drivers_that_crash_hang_or_refuse(
    tmp_path: Path, text: str, codecs: int, problem: str
) -> None:
    found = prove("cuda", None, program=program(tmp_path, text), seconds=1.0)
    assert len(found.codecs) == codecs
    assert found.usable == bool(codecs)
    assert found.problem.startswith(problem)
    assert bool(found.problem) == bool(problem)


# The program that tries a driver


@pytest.mark.parametrize(("codec", "encoder", "pixel_format"), prove_decoder.CLIPS)
def test_its_clips_decode(codec: str, encoder: str, pixel_format: str) -> None:
    clip = prove_decoder.make_clip(encoder, pixel_format)
    frames = prove_decoder.decoded(clip, None)
    assert len(frames) == prove_decoder.FRAMES
    assert {frame.format.name for frame in frames} == {pixel_format}
    # As on a device: a decoder of its own, that the container did not make.
    if codec != "av1":  # its decoder does nothing without hardware
        context = av.CodecContext.create(codec, "r")
        assert isinstance(context, VideoCodecContext)
        assert len(prove_decoder.decoded(clip, context)) == prove_decoder.FRAMES


def test_it_runs_alone_and_answers_for_every_codec() -> None:
    path = Path(prove_decoder.__file__)
    done = subprocess.run(
        [sys.executable, "-P", str(path), "cuda"], capture_output=True, check=True, timeout=120
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
    assert len(answers) == len(prove_decoder.CLIPS)


@pytest.mark.gpu
def test_nvdec_gives_the_cpus_pictures(cuda: None, clip: Path, shared_data: Path) -> None:
    """H.264 defines every bit: what differs at all would be a fault of ours."""
    decoding = decide("cuda")
    for path in (clip, shared_data / "videos" / "street_crowd_1080p.mp4"):
        options = SourceOptions(max_frames=60)
        with open_source(path, options) as source:
            want = list(source)
        told: list[tuple[str, str, str | None]] = []
        options = replace(
            options, decoding=decoding, on_decoder=lambda *news, told=told: told.append(news)
        )
        with open_source(path, options) as source:
            got = list(source)
        assert [who for _, who, _ in told] == ["cuda"]
        assert_same(got, want)
