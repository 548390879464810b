"""Decodes small clips on a device and says which came out right; for a process of its own.

A driver may hang or take the process down: `hardware` runs this file as a program and reads a line
of JSON for each codec. It therefore imports nothing of this package.
"""

from __future__ import annotations

import ctypes
import io
import json
import sys

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# The decoder that can use a device, what encodes a clip for it, and its pixel format. For AV1
# FFmpeg prefers a decoder of its own kind that has no hardware.
CLIPS = (
    ("h264", "libx264", "yuv420p"),
    ("hevc", "libx265", "yuv420p"),
    ("hevc", "libx265", "yuv420p10le"),
    ("vp9", "libvpx-vp9", "yuv420p"),
    ("av1", "libsvtav1", "yuv420p"),
)
SIZE = 256  # the smallest side that all generations of devices take is 144
FRAMES = 4
# These codecs define every bit of the picture; a device that is off by more is wrong.
TOLERANCE = 2
_QUIET = {"libx265": {"x265-params": "log-level=none"}}
_LIBRARIES = {"cuda": ("libcuda.so.1", "libnvcuvid.so.1"), "vaapi": ("libva.so.2",)}


def missing_library(kind: str) -> str | None:
    """The first of the driver's libraries that cannot be loaded."""
    for name in _LIBRARIES[kind]:
        try:
            ctypes.CDLL(name)
        except OSError:
            return name
    return None


def make_clip(encoder: str, pixel_format: str) -> bytes:
    """Four frames of 256×256 with a square that moves, as Matroska."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as container:
        stream = container.add_stream(encoder, rate=25, options=_QUIET.get(encoder, {}))
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{encoder} encodes no video")
        stream.width = stream.height = SIZE
        stream.pix_fmt = pixel_format
        ramp = np.broadcast_to(np.arange(SIZE, dtype=np.uint8), (SIZE, SIZE))
        for number in range(FRAMES):
            image = np.stack([ramp, ramp.T, 255 - ramp], axis=-1)
            image[64:128, 32 * number : 32 * number + 64] = (30, 200, 120)
            frame = VideoFrame.from_ndarray(image, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return memory.getvalue()


def decoded(clip: bytes, context: VideoCodecContext | None) -> list[VideoFrame]:
    """All its frames; by the context given, else as FFmpeg does it without a device."""
    with av.open(io.BytesIO(clip), mode="r") as container:
        stream = container.streams.video[0]
        if context is None:
            context = stream.codec_context
        else:
            context.extradata = stream.codec_context.extradata
        context.thread_count = 1
        packets = [packet for packet in container.demux(stream) if packet.size]
        frames = [frame for packet in packets for frame in context.decode(packet)]
        return frames + context.decode(None)


def prove(kind: str, device: str | None, codec: str, encoder: str, pixel_format: str) -> str | None:
    """Why the device does not decode this; None when it does."""
    try:
        clip = make_clip(encoder, pixel_format)
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        return f"no clip to try it with: {error}"
    try:
        accelerator = HWAccel(kind, device=device, allow_software_fallback=False)
        context = av.CodecContext.create(codec, "r", hwaccel=accelerator)
        if not isinstance(context, VideoCodecContext) or not context.is_hwaccel:
            return f"PyAV's {codec} decoder has no {kind}"
        got = decoded(clip, context)
        want = decoded(clip, None)
    except (av.error.FFmpegError, NotImplementedError, RuntimeError) as error:
        return str(error) or type(error).__name__
    if len(got) != len(want):
        return f"{len(got)} of {len(want)} frames came out"
    for mine, reference in zip(got, want, strict=True):
        plain = mine.reformat(format=pixel_format)
        worst = np.abs(plain.to_ndarray().astype(int) - reference.to_ndarray().astype(int)).max()
        if worst > TOLERANCE:
            return f"its pictures differ from the CPU's by up to {worst} levels"
    return None


def main(kind: str, device: str | None) -> None:
    """Print a line of JSON for each codec, at once: what follows may end the process."""
    missing = missing_library(kind)
    for codec, encoder, pixel_format in CLIPS:
        why = missing and f"{missing} cannot be loaded"
        why = why or prove(kind, device, codec, encoder, pixel_format)
        line = {"codec": codec, "pixel_format": pixel_format, "problem": why}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
