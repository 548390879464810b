"""Clips as servers need them: endless ones, and one whose size changes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

from tests.media import Size


def looped(clip: Path, out: Path, *, seconds: float) -> Path:
    """The video of a clip again and again until ``seconds``, not encoded again.

    Args:
        clip: H.264 in any container.
        out: the suffix chooses the container; ``.mkv`` keeps the times, ``.ts`` may be streamed.
        seconds: how long it gets.
    """
    command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(clip)]
    command += ["-t", str(seconds), "-map", "0:v:0", "-c", "copy", str(out)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return out


def slowed(clip: Path, out: Path, *, times: int) -> Path:
    """The video of a clip, which takes so many times as long; not encoded again."""
    command = ["ffmpeg", "-v", "error", "-y", "-itsscale", str(times), "-i", str(clip)]
    command += ["-map", "0:v:0", "-c", "copy", str(out)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return out


def hls(clip: Path, folder: Path) -> Path:
    """The clip as HLS with segments of about a second; returns the playlist."""
    playlist = folder / "index.m3u8"
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(clip), "-map", "0:v:0", "-c", "copy"]
    command += ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", str(playlist)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return playlist


def changing_size(out: Path, parts: Sequence[Path], *, fps: int = 25) -> Path:
    """MPEG-TS whose picture changes its size in mid-stream, with times that go on.

    Args:
        out: ends in ``.ts``.
        parts: clips, one after another; they are encoded again.
        fps: of the result.
    """
    written = 0
    with av.open(str(out), "w") as container:
        stream: Any = None
        for part in parts:
            with av.open(str(part)) as source:
                frames = list(source.decode(video=0))
            if stream is None:
                stream = container.add_stream("libx264", rate=fps)
                stream.width, stream.height = frames[0].width, frames[0].height
                stream.pix_fmt = "yuv420p"
            for packet in _encoded(frames, (frames[0].width, frames[0].height), fps):
                packet.stream = stream
                packet.pts = (packet.pts or 0) + written
                packet.dts = packet.pts
                container.mux(packet)
            written += len(frames)
    return out


def _encoded(frames: Sequence[VideoFrame], size: Size, fps: int) -> list[Any]:
    """Packets with times from 0 in units of a frame; their parameter sets are in the stream."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, fps)
    encoder.framerate = Fraction(fps)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
    packets = []
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, Fraction(1, fps)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    for packet in packets:
        packet.time_base = Fraction(1, fps)
    return packets
