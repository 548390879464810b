"""Which hardware decodes video here: looked for, tried with real clips, and then believed.

NVDEC (``cuda``) and VA-API through PyAV. PyAV's own wheels (17 and 18 were looked at) hold ``cuda``
but not ``vaapi``; that needs a PyAV built against the system's FFmpeg. PyNvVideoCodec was left out:
it decodes by the same NVDEC, brings a demuxer without our time-outs and credentials, and what it
could add, pictures that stay on the GPU, PyAV gives too (``HWAccel(is_hw_owned=True)``).

Without a device file nothing is loaded or started: ``auto`` then costs microseconds. With one, a
process of its own decodes a clip for each codec (`prove_decoder`), once: drivers hang and crash.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..core.errors import SourceError

Decode = Literal["auto", "cpu", "cuda", "vaapi"]
Hardware = Literal["cuda", "vaapi"]
DecodedBy = Literal["cpu", "cuda", "vaapi"]
FallbackReason = Literal["unavailable", "unsupported", "failed"]
OnDecoder = Callable[[str, DecodedBy, FallbackReason | None], None]
"""Gets a source's name, who decodes it, and why the CPU took over from hardware, if it did."""

log = logging.getLogger(__name__)

# A first CUDA context takes seconds on a machine with many devices.
PROOF_SECONDS = 30.0
_ORDER: tuple[Hardware, ...] = ("cuda", "vaapi")
_NAMES = {"cuda": "NVDEC", "vaapi": "VA-API"}
_PROGRAM = Path(__file__).with_name("prove_decoder.py")
# nvidiactl: the driver; dxg: the same under Windows' Linux.
_FILES: Mapping[Hardware, tuple[str, ...]] = {
    "cuda": ("nvidiactl", "nvidia[0-9]*", "dxg"),
    "vaapi": ("dri/renderD*",),
}
_ABSENT = {
    "cuda": "no CUDA device: there is no /dev/nvidia*, the NVIDIA driver is not installed",
    "vaapi": "no VA-API device: there is no /dev/dri/renderD*",
}


@dataclass(frozen=True, slots=True)
class Capability:
    """What a kind of hardware decodes here.

    Attributes:
        kind: ``cuda`` or ``vaapi``.
        present: there is a device file, so that one might expect it to work.
        device: for `HWAccel`; None: the driver's first.
        codecs: what it decodes, as (codec, pixel format); empty where it cannot serve.
        problem: why it cannot serve at all; empty when it can.
        refused: of the codecs that were tried, why each was not decoded.
    """

    kind: Hardware
    present: bool
    device: str | None = None
    codecs: frozenset[tuple[str, str]] = frozenset()
    problem: str = ""
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether it decoded at least one clip."""
        return bool(self.codecs)

    def describe(self) -> str:
        """In one line, for ``doctor``."""
        if not self.usable:
            return self.problem
        done = ", ".join(f"{codec} {form}" for codec, form in sorted(self.codecs))
        left = ", ".join(f"{codec} {form} ({why})" for (codec, form), why in self.refused.items())
        return f"{_NAMES[self.kind]} decodes {done}" + (f"; not {left}" if left else "")


class Decodes(Protocol):
    """What `VideoCodecContext` is to us."""

    def decode(self, packet: Packet[VideoStream] | None = None) -> list[VideoFrame]:
        """The frames that a packet completes; None: those that are still held."""
        ...


@dataclass(frozen=True, slots=True)
class Decoding:
    """What is to decode a video, and why.

    Attributes:
        decoder: ``cpu``, or the hardware.
        reason: in a few words.
        required: what the hardware does not decode is an error, not the CPU's work.
        fallback: the CPU serves although there is hardware that should.
        capability: of the hardware; None for ``cpu``.
    """

    decoder: DecodedBy
    reason: str = ""
    required: bool = False
    fallback: bool = False
    capability: Capability | None = None

    def refusal(self, codec: str, pixel_format: str | None) -> str | None:
        """Why the hardware is not to decode this; None when it proved that it can.

        Args:
            codec: FFmpeg's name of the codec or of its decoder.
            pixel_format: as the CPU decodes it, e.g. ``yuv420p``.
        """
        if self.capability is None:
            return "the CPU was asked for"
        form = (pixel_format or "").replace("yuvj", "yuv")
        if (codec_name(codec), form) in self.capability.codecs:
            return None
        what = f"{codec_name(codec)} {form}".strip()
        why = self.capability.refused.get((codec_name(codec), form), "it was not tried with that")
        return f"{what} is not for {_NAMES[self.capability.kind]} here: {why}"

    def context(self, like: VideoCodecContext) -> Decodes:
        """A new decoder on the device; it never decodes on the CPU, and raises instead.

        Args:
            like: the CPU's decoder of the same stream.

        Raises:
            av.error.FFmpegError: the device cannot be opened.
            RuntimeError: FFmpeg's decoder has no such hardware.
        """
        if self.capability is None:
            raise ValueError("decoding by the CPU has no device")
        # FFmpeg makes a CUDA context for each decoder. It would share the process's own one, but
        # refuses where torch or TensorRT made that first: it wants other flags of it.
        accelerator = HWAccel(
            self.capability.kind, device=self.capability.device, allow_software_fallback=False
        )
        context = av.CodecContext.create(codec_name(like.name), "r", hwaccel=accelerator)
        if not isinstance(context, VideoCodecContext) or not context.is_hwaccel:
            raise RuntimeError(f"FFmpeg's {like.name} decoder has no {self.capability.kind}")
        resemble(context, like)
        return context


BY_CPU = Decoding("cpu", "asked for")


def resemble(context: VideoCodecContext, like: VideoCodecContext) -> None:
    """Prepare a decoder with what the container told another one of the same stream."""
    context.thread_count = 1
    context.extradata = like.extradata
    # Without it the first frames of a stream with B-frames are dropped while the depth is learnt.
    context.reorder_depth = like.reorder_depth
    context.colorspace = like.colorspace
    context.color_range = like.color_range
    context.color_primaries = like.color_primaries
    context.color_trc = like.color_trc


def codec_name(decoder: str) -> str:
    """The decoder with hardware, for one that FFmpeg prefers and that has none."""
    return {"libdav1d": "av1", "libaom-av1": "av1", "libvpx-vp9": "vp9"}.get(decoder, decoder)


def decide(decode: Decode, *, strict: Literal["strict", "lenient"] = "lenient") -> Decoding:
    """What decodes here; hardware has decoded a clip before it is chosen.

    Args:
        decode: ``auto`` takes the hardware that works, NVDEC first, else the CPU.
        strict: with ``auto``: hardware that is there and does not work is an error.

    Raises:
        SourceError: the hardware that was asked for does not decode here; says why.
    """
    if decode == "cpu":
        return BY_CPU
    if decode != "auto":
        found = capability(decode)
        if not found.usable:
            raise SourceError(
                f"--decode {decode} cannot serve: {found.problem}; use --decode auto or cpu",
                retry="never",
            )
        return Decoding(decode, "asked for", required=True, capability=found)
    problems = []
    for kind in _ORDER:
        found = capability(kind)
        if found.usable:
            return Decoding(
                kind,
                f"auto: {_NAMES[kind]} decoded a clip",
                required=strict == "strict",
                capability=found,
            )
        if found.present:
            problems.append(found.problem)
    why = "; ".join(problems)
    if problems and strict == "strict":
        raise SourceError(
            f"--strict-device: the CPU would decode: {why}; use --decode cpu", retry="never"
        )
    return Decoding("cpu", why or "no hardware decoder", fallback=bool(problems))


_proving = threading.Lock()
_known: dict[Hardware, Capability] = {}


def capability(kind: Hardware) -> Capability:
    """What this hardware decodes here; tried once in a process, and only where it is present."""
    with _proving:
        if kind not in _known:
            _known[kind] = _look(kind)
        return _known[kind]


def device_files(kind: Hardware, root: Path = Path("/dev")) -> list[Path]:
    """The device files that such hardware shows itself by, sorted."""
    return sorted(path for pattern in _FILES[kind] for path in root.glob(pattern))


def _look(kind: Hardware) -> Capability:
    files = device_files(kind)
    if not files:
        return Capability(kind, present=False, problem=_ABSENT[kind])
    if kind not in hwdevices_available():
        # A name that FFmpeg does not know would stand for any hardware.
        why = f"PyAV {av.__version__} was built without {kind}"
        if kind == "vaapi":
            why += ", as its wheels are; build it against an FFmpeg that has it"
        return Capability(kind, present=False, problem=why)
    if kind == "cuda":
        return prove(kind, None)
    # Of several render nodes any may be the one that decodes.
    first: Capability | None = None
    for file in files:
        found = prove(kind, str(file))
        if found.usable:
            return found
        first = first or found
    return first or Capability(kind, present=False, problem=_ABSENT[kind])


def prove(
    kind: Hardware,
    device: str | None,
    *,
    program: Path = _PROGRAM,
    seconds: float = PROOF_SECONDS,
) -> Capability:
    """Decode clips on a device, in a process of its own.

    Args:
        kind: of hardware.
        device: a render node; None: the driver's first device.
        program: what to run; it prints a line of JSON for each codec.
        seconds: until it counts as hung; what it said before holds.
    """
    command = [sys.executable, "-P", str(program), kind, *([device] if device else [])]
    ended = ""
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        said, code = done.stdout, done.returncode
        if code:
            ended = f"its driver ended the process that tried it (status {code})"
    except subprocess.TimeoutExpired as hung:
        said, ended = hung.stdout or b"", f"it hung for {seconds:g} s"
    except OSError as error:
        said, ended = b"", f"it cannot be tried: {error.strerror}"
    answers = dict(_answers(said))
    codecs = frozenset(what for what, why in answers.items() if not why)
    refused = {what: why for what, why in answers.items() if why}
    problem = "" if codecs else ended or next(iter(refused.values()), "it said nothing")
    if problem:
        problem = f"{_NAMES[kind]}: {problem}{_hint(kind, problem)}"
    log.debug("%s on %s: decodes %s, not %s", kind, device, sorted(codecs), refused)
    return Capability(kind, True, device, codecs, problem, refused)


def _answers(said: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    """Codec and pixel format, and why it was not decoded, empty when it was."""
    for line in said.splitlines():
        try:
            answer = json.loads(line)
            yield (answer["codec"], answer["pixel_format"]), answer["problem"] or ""
        except (ValueError, TypeError, KeyError):
            continue  # a library's chatter, or a line that was cut off


def _hint(kind: Hardware, problem: str) -> str:
    if kind == "cuda" and "libnvcuvid" in problem:
        return " (in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility,video)"
    return ""
