"""Stands for a hardware decoder: gives NV12 as they do, and fails where a test wants it to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from facestream.pipeline.sources import hardware
from facestream.pipeline.sources.hardware import Capability, Decoding

PROVED = frozenset({("h264", "yuv420p"), ("hevc", "yuv420p10le"), ("av1", "yuv420p")})
HARDWARE = Capability("cuda", present=True, codecs=PROVED, refused={("vp9", "yuv420p"): "too old"})
Fails = Callable[[int], BaseException | None]


@dataclass(frozen=True)
class Simulated(Decoding):
    """Decodes by the CPU, but as hardware does: NV12, no rotation, errors."""

    fails: Fails = lambda _: None
    mute: bool = False

    def context(self, like: VideoCodecContext) -> Simulation:
        return Simulation(like, self.fails, mute=self.mute)


class Simulation:
    def __init__(self, like: VideoCodecContext, fails: Fails, *, mute: bool) -> None:
        context = av.CodecContext.create(like.name, "r")
        assert isinstance(context, VideoCodecContext)
        hardware.resemble(context, like)
        self._context, self._fails, self._mute = context, fails, mute
        self._packets = 0

    def decode(self, packet: Packet[VideoStream] | None = None) -> list[VideoFrame]:
        error = self._fails(self._packets)
        self._packets += 1
        if error is not None:
            raise error
        frames = [] if self._mute else self._context.decode(packet)
        return [self._as_hardware(frame) for frame in frames]

    def _as_hardware(self, frame: VideoFrame) -> VideoFrame:
        form = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}
        same = frame.color_range
        return frame.reformat(
            format=form[frame.format.name], src_color_range=same, dst_color_range=same
        )


def simulated(
    fails: Fails = lambda _: None, *, mute: bool = False, required: bool = False
) -> Decoding:
    return Simulated("cuda", "a test", required, capability=HARDWARE, fails=fails, mute=mute)


def lost(number: int) -> Fails:
    """The device is lost at this packet."""
    return lambda packet: av.error.ExternalError(1, "device lost") if packet >= number else None
