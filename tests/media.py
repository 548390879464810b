"""Real clips for tests, made with PyAV, and ways to damage them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from facestream.pipeline.runtime.priority import scheduling_kept
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Size = tuple[int, int]


def picture(index: int, size: Size) -> Picture:
    """H×W×3 BGR: noise-free, different for each index, brightness ``16 + 7·index mod 224``."""
    width, height = size
    image = np.full((height, width, 3), 16 + 7 * index % 224, np.uint8)
    left = index * 5 % max(1, width - width // 4)
    image[height // 4 : height // 2, left : left + width // 4] = (40, 200, 120)
    return image


def make_clip(
    path: Path,
    *,
    frames: int = 20,
    size: Size = (160, 120),
    fps: int = 10,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
    times: Sequence[float] | None = None,
    audio: bool = False,
    rotate: int = 0,
    matrix: tuple[int, int, int, int] | None = None,
    pixel_ratio: Fraction | None = None,
    metadata: dict[str, str] | None = None,
    draw: Callable[[int, Size], Picture] = picture,
) -> Path:
    """A clip; the suffix of ``path`` chooses the container.

    Args:
        path: where it goes.
        frames: number of frames.
        size: width and height.
        fps: frames a second.
        codec: FFmpeg's name of an encoder.
        pixel_format: e.g. ``yuv444p`` for odd sizes.
        encoder: options of the encoder, e.g. ``{"bf": "3"}``.
        options: of the container, e.g. ``{"movflags": "faststart"}``.
        times: presentation time of each frame in seconds, for a variable frame rate.
        audio: with a stream of silence as long as the video.
        rotate: degrees clockwise that players turn it, a multiple of 90 (mp4 and mov only).
        matrix: instead of ``rotate``: a, b, c, d; a point x, y is shown at a·x + c·y, b·x + d·y.
        pixel_ratio: width of a pixel over its height, for anamorphic video.
        metadata: of the container, e.g. ``creation_time``.
        draw: gives frame ``index`` as H×W×3 BGR.
    """
    with scheduling_kept(), av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        if pixel_ratio is not None:
            stream.codec_context.sample_aspect_ratio = pixel_ratio
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "g": "10"} | (encoder or {})
        elif encoder:
            stream.options = encoder
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        for index in range(frames):
            frame = VideoFrame.from_ndarray(draw(index, size), format="bgr24")
            if times is not None:
                frame.pts, frame.time_base = round(times[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
            if sound is not None:
                container.mux(sound.encode(_silence(index, 16000 // fps)))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    if rotate:
        matrix = _TURNS[rotate % 360]
    if matrix is not None:
        _set_matrix(path, matrix)
    return path


def make_sound(path: Path, *, seconds: int = 1) -> Path:
    """A file with sound only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for index in range(seconds * 10):
            container.mux(stream.encode(_silence(index, 1600)))
        container.mux(stream.encode(None))
    return path


def join_clips(path: Path, parts: Iterable[Path]) -> Path:
    """The parts one after another in one stream (``.h264`` and ``.ts`` files may be joined so)."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def truncate(path: Path, fraction: float) -> Path:
    """Keep only the first part of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def damage(path: Path, *, start: float, length: int = 400, seed: int = 1) -> Path:
    """Overwrite ``length`` bytes with noise, from the fraction ``start`` of the file on."""
    content = bytearray(path.read_bytes())
    at = int(len(content) * start)
    noise = np.random.default_rng(seed).integers(0, 256, length, dtype=np.uint8).tobytes()
    content[at : at + length] = noise[: len(content) - at]
    path.write_bytes(content)
    return path


def levels(images: Iterable[Picture]) -> list[int]:
    """Brightness of each picture's corner, which tells the frames of `picture` apart."""
    return [round(float(image[:8, :8].mean())) for image in images]


def streams_of(path: Path) -> list[str]:
    """The types of the streams in a file, e.g. ``["video", "audio"]``."""
    with av.open(str(path)) as container:
        return [stream.type for stream in container.streams]


def encoded_frames(path: Path) -> int:
    """Video packets in a file."""
    with av.open(str(path)) as container:
        stream: VideoStream = container.streams.video[0]
        return sum(packet.size > 0 for packet in container.demux(stream))


def _silence(index: int, samples: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.zeros((1, samples), np.float32), "fltp", "mono")
    frame.sample_rate = 16000
    frame.pts, frame.time_base = index * samples, Fraction(1, 16000)
    return frame


_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def _set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix into the (first) track header; PyAV cannot."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4
    place = at + (52 if content[at] == 1 else 40)  # version 1 has 64-bit times
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", content, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
