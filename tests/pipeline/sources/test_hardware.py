"""Hardware decoders: what is chosen, and PyAV's fall-back to the CPU.

There is no such hardware here: the device files are made up, the libraries and PyAV are real.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.types import Frame
from facestream.pipeline.sources import (
    SourceOptions,
    SourceSpec,
    StdinSource,
    decide,
    hardware,
    open_source,
)
from facestream.pipeline.sources.hardware import Capability, Decoding, capability

from tests.media import make_clip

CUDA = Decoding("cuda", "a test")
REQUIRED = replace(CUDA, required=True)


def read(path: Path, decoding: Decoding) -> tuple[list[Frame], list[tuple[str, str, str | None]]]:
    news: list[tuple[str, str, str | None]] = []
    options = SourceOptions(decoding=decoding, on_decoder=lambda *what: news.append(what))
    with open_source(path, options) as source:
        frames = list(source)
        assert source.decoded == len(frames)
        assert (source.corrupt, source.problems) == (0, [])
    return frames, news


def assert_same(got: list[Frame], want: list[Frame]) -> None:
    assert [frame.index for frame in got] == [frame.index for frame in want]
    assert [frame.pts for frame in got] == [frame.pts for frame in want]
    for mine, reference in zip(got, want, strict=True):
        assert np.array_equal(mine.image, reference.image)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames with B-frames, a key frame every 12."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    return make_clip(path, frames=40, encoder={"bf": "3", "g": "12", "b-adapt": "0"})


@pytest.fixture
def no_driver() -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a driver")


# PyAV falls back


def test_the_cpu_is_reported_too(clip: Path) -> None:
    frames, news = read(clip, hardware.BY_CPU)
    assert len(frames) == 40
    assert news == [(str(clip), "cpu", None)]


def test_a_codec_without_hardware_is_decoded_by_the_cpu_without_a_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_clip(tmp_path / "grey.mkv", frames=8, codec="ffv1", pixel_format="gray")
    want, _ = read(path, hardware.BY_CPU)
    with caplog.at_level(logging.WARNING, "facestream"):
        got, news = read(path, CUDA)
    assert_same(got, want)
    assert news == [(str(path), "cpu", "unsupported")]
    assert caplog.messages == [f"{path}: the CPU decodes, not cuda (ffv1)"]


def test_a_codec_without_hardware_is_an_error_where_hardware_is_required(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "grey.mkv", frames=8, codec="ffv1", pixel_format="gray")
    why = "decoding by cuda failed: it does not take this ffv1 video; use --decode cpu"
    with pytest.raises(SourceError, match=why) as caught:
        open_source(path, SourceOptions(decoding=REQUIRED))
    assert caught.value.retry == "slowly"


def test_a_device_that_cannot_be_opened(
    clip: Path, no_driver: None, caplog: pytest.LogCaptureFixture
) -> None:
    want, _ = read(clip, hardware.BY_CPU)
    with caplog.at_level(logging.WARNING, "facestream"):
        got, news = read(clip, CUDA)
    assert_same(got, want)
    assert news == [(str(clip), "cpu", "unsupported")]
    assert f"{clip}: decoding by cuda failed: " in caplog.text
    with pytest.raises(SourceError, match=r"decoding by cuda failed: .*; use --decode cpu"):
        open_source(clip, SourceOptions(decoding=REQUIRED))


def test_a_pipe_cannot_be_opened_twice(clip: Path, no_driver: None) -> None:
    with clip.open("rb") as file, pytest.raises(SourceError, match="use --decode cpu"):
        StdinSource(
            SourceSpec("stdin", "-", "stdin"),
            SourceOptions(decoding=CUDA),
            descriptor=file.fileno(),
        )


def test_what_cannot_be_opened_is_not_blamed_on_the_device(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video\n" * 500)
    with pytest.raises(SourceError, match="is not a video"):
        open_source(path, SourceOptions(decoding=REQUIRED))


# What is chosen


@pytest.fixture
def untried() -> Iterator[None]:
    """As if nothing had been tried in this process."""
    capability.cache_clear()
    yield
    capability.cache_clear()


@pytest.fixture
def device_file(untried: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A device file of NVIDIA's and one of VA-API's; there is no driver behind them."""
    (tmp_path / "dri").mkdir()
    for name in ("nvidiactl", "nvidia0", "dri/renderD128"):
        (tmp_path / name).touch()
    found = hardware.device_files
    monkeypatch.setattr(hardware, "device_files", lambda kind: found(kind, tmp_path))
    return tmp_path


def test_without_a_device_file_nothing_is_loaded(
    untried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: object, **options: object) -> None:
        raise AssertionError("a library or device was opened")

    monkeypatch.setattr(hardware, "device_files", lambda kind: [])
    monkeypatch.setattr(ctypes, "CDLL", loaded)
    monkeypatch.setattr(hardware, "HWAccel", loaded)
    decoding = decide("auto", strict="strict")
    assert (decoding.decoder, decoding.fallback) == ("cpu", False)
    assert not capability("cuda").present
    with pytest.raises(SourceError, match=r"--decode cuda cannot serve: .*NVIDIA driver") as caught:
        decide("cuda")
    assert caught.value.retry == "never"
    with pytest.raises(SourceError, match=r"--decode vaapi cannot serve: .*no /dev/dri"):
        decide("vaapi")


def test_a_device_without_a_driver(device_file: Path, no_driver: None) -> None:
    decoding = decide("auto")
    assert (decoding.decoder, decoding.fallback) == ("cpu", True)
    assert "NVDEC: libcuda.so.1 cannot be loaded" in decoding.reason
    assert "NVDEC: libcuda.so.1 cannot be loaded" in capability("cuda").describe()
    with pytest.raises(SourceError, match=r"--strict-device: the CPU would decode: .*libcuda"):
        decide("auto", strict="strict")


def test_a_container_without_the_drivers_video_library(
    device_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> None:
        if name != "libcuda.so.1":
            raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(SourceError, match=r"libnvcuvid.*NVIDIA_DRIVER_CAPABILITIES=compute"):
        decide("cuda")


def test_a_driver_that_refuses(
    device_file: Path, no_driver: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    assert decide("auto").reason == "NVDEC: Operation not permitted"


def test_vaapi_needs_a_pyav_that_has_it(device_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda", "drm"])
    with pytest.raises(SourceError, match="built without vaapi, as its wheels are"):
        decide("vaapi")


def test_the_hardware_that_can_be_opened_is_chosen_nvdec_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        "cuda": Capability("cuda", present=True, problem="NVDEC: refused"),
        "vaapi": Capability("vaapi", present=True, device="/dev/dri/renderD129"),
    }
    monkeypatch.setattr(hardware, "capability", lambda kind: found[kind])
    chosen = decide("auto")
    assert (chosen.decoder, chosen.device) == ("vaapi", "/dev/dri/renderD129")
    assert (chosen.required, chosen.fallback) == (False, False)
    found["cuda"] = Capability("cuda", present=True)
    assert decide("auto").decoder == "cuda"
    assert decide("auto", strict="strict").required
    assert decide("cuda").required
    assert decide("cpu") is hardware.BY_CPU


@pytest.mark.gpu
def test_nvdec_gives_the_cpus_pictures(cuda: None, clip: Path, shared_data: Path) -> None:
    """H.264 defines every bit: any difference would be a fault of ours."""
    decoding = decide("cuda")
    for path in (clip, shared_data / "videos" / "street_crowd_1080p.mp4"):
        options = SourceOptions(max_frames=60)
        with open_source(path, options) as source:
            want = list(source)
        news: list[tuple[str, str, str | None]] = []
        options = replace(
            options, decoding=decoding, on_decoder=lambda *what, news=news: news.append(what)
        )
        with open_source(path, options) as source:
            got = list(source)
        assert [decoder for _, decoder, _ in news] == ["cuda"]
        assert_same(got, want)
