"""Which hardware decodes video: NVDEC (``cuda``) and VA-API, driven by PyAV.

PyAV opens the device with the container and copies each frame to system memory. Where the device
does not support a stream (its codec, pixel format, profile or a new size midway), the same decoder
goes on in software with the same packet: no frame is lost or doubled. A device that is lost while
it decodes is an error of the source (see `decode.VideoDecoder`).

PyAV's wheels (17.0 and 18.1 were examined) hold ``cuda`` but not ``vaapi``; that needs a PyAV built
against the system's FFmpeg. Without a device file nothing is loaded: ``auto`` costs microseconds.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
from av.codec.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available

from ..core.errors import SourceError

Decode = Literal["auto", "cpu", "cuda", "vaapi"]
Hardware = Literal["cuda", "vaapi"]
DecodedBy = Literal["cpu", "cuda", "vaapi"]
FallbackReason = Literal["unavailable", "unsupported", "failed"]
OnDecoder = Callable[[str, DecodedBy, FallbackReason | None], None]
"""Gets a source's name, its decoder, and why the CPU took over from hardware, if it did."""

_NAMES: Mapping[Hardware, str] = {"cuda": "NVDEC", "vaapi": "VA-API"}
# nvidiactl: the driver; dxg: the same under WSL.
_FILES: Mapping[Hardware, tuple[str, ...]] = {
    "cuda": ("nvidiactl", "nvidia[0-9]*", "dxg"),
    "vaapi": ("dri/renderD*",),
}
_ABSENT: Mapping[Hardware, str] = {
    "cuda": "no CUDA device: there is no /dev/nvidia*, the NVIDIA driver is not installed",
    "vaapi": "no VA-API device: there is no /dev/dri/renderD*",
}


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether a kind of hardware can decode here.

    Attributes:
        present: there is a device file, so it should work.
        device: for `HWAccel`; None: the driver's first.
        problem: why it cannot decode; empty when it can.
    """

    kind: Hardware
    present: bool = False
    device: str | None = None
    problem: str = ""

    @property
    def usable(self) -> bool:
        return not self.problem

    def describe(self) -> str:
        """In one line, for ``doctor``."""
        return self.problem or f"{_NAMES[self.kind]} can be opened"


@dataclass(frozen=True, slots=True)
class Decoding:
    """What decodes a video, and why.

    Attributes:
        required: a video that the hardware does not decode is an error.
        fallback: the CPU decodes because hardware that is present does not work.
        device: of the hardware, for `HWAccel`.
    """

    decoder: DecodedBy
    reason: str = ""
    required: bool = False
    fallback: bool = False
    device: str | None = None

    def accelerator(self) -> HWAccel | None:
        """For ``av.open``; None decodes on the CPU."""
        if self.decoder == "cpu":
            return None
        return HWAccel(self.decoder, device=self.device, allow_software_fallback=True)


BY_CPU = Decoding("cpu", "asked for")


def decide(decode: Decode, *, strict: Literal["strict", "lenient"] = "lenient") -> Decoding:
    """What decodes here.

    Args:
        decode: ``auto`` takes the hardware that can be opened, NVDEC first, else the CPU.
        strict: with ``auto``: hardware that is there and does not work is an error.

    Raises:
        SourceError: the requested hardware does not decode here; says why.
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
        return Decoding(decode, "asked for", required=True, device=found.device)
    problems = []
    for kind in _NAMES:
        found = capability(kind)
        if found.usable:
            required = strict == "strict"
            return Decoding(kind, f"auto: {_NAMES[kind]}", required, device=found.device)
        if found.present:
            problems.append(found.problem)
    why = "; ".join(problems)
    if problems and strict == "strict":
        raise SourceError(
            f"--strict-device: the CPU would decode: {why}; use --decode cpu", retry="never"
        )
    return Decoding("cpu", why or "no hardware decoder", fallback=bool(problems))


@functools.cache
def capability(kind: Hardware) -> Capability:
    """Whether this hardware can decode here; tried once in a process, where it is present."""
    files = device_files(kind)
    if not files:
        return Capability(kind, problem=_ABSENT[kind])
    if kind not in hwdevices_available():
        # A name that FFmpeg does not know would stand for any hardware.
        why = f"PyAV {av.__version__} was built without {kind}"
        if kind == "vaapi":
            why += ", as its wheels are; build it against an FFmpeg that has it"
        return Capability(kind, problem=why)
    problem = ""
    # Of several render nodes any one may decode.
    for device in [None] if kind == "cuda" else [str(file) for file in files]:
        why = _problem_of(kind, device)
        if not why:
            return Capability(kind, present=True, device=device)
        problem = problem or why
    return Capability(kind, present=True, problem=f"{_NAMES[kind]}: {problem}")


def device_files(kind: Hardware, root: Path = Path("/dev")) -> list[Path]:
    return sorted(path for pattern in _FILES[kind] for path in root.glob(pattern))


def _problem_of(kind: Hardware, device: str | None) -> str:
    """Why the device cannot be opened; empty when it can."""
    # FFmpeg loads the driver's decoder library only with the first frame.
    for library in ("libcuda.so.1", "libnvcuvid.so.1") if kind == "cuda" else ():
        try:
            ctypes.CDLL(library)
        except OSError:
            hint = " (in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility,video)"
            return f"{library} cannot be loaded{hint if library == 'libnvcuvid.so.1' else ''}"
    try:
        HWAccel(kind, device=device).create(Codec("h264", "r"))
    except (av.error.FFmpegError, NotImplementedError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""
