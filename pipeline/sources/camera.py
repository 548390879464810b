"""A camera of this machine, through Video4Linux."""

from __future__ import annotations

import errno
from pathlib import Path

import av
from av.container import InputContainer

from ..core.errors import SourceError
from .allowed import DEVICE
from .base import DEFAULTS, SourceOptions, SourceSpec
from .decode import reason
from .opening import Opening, open_container
from .stream import StreamSource

_NO_CAMERA = {errno.ENOTTY, errno.ENODEV, errno.EINVAL}  # the device is not a camera


class CameraSource(StreamSource):
    """A V4L2 device such as ``/dev/video0``.

    Raises:
        SourceError: there is no such device, it is in use, or it gives no pictures.
    """

    live = True

    def __init__(self, spec: SourceSpec, options: SourceOptions = DEFAULTS) -> None:
        super().__init__(spec, options, _open(spec, options), latency="low")


def _open(spec: SourceSpec, options: SourceOptions) -> InputContainer:
    device = Path(spec.location)
    if not device.exists():
        found = ", ".join(sorted(path.name for path in Path("/dev").glob("video*")))
        why = f"there is no {device}; "
        why += f"this machine has {found}" if found else "this machine has no camera"
        raise SourceError(f"{spec.name}: {why}", reason=why)
    try:
        opening = Opening(
            *(DEVICE, options.decoding, spec.name),
            format="video4linux2",
            timeout=(options.open_timeout, options.read_timeout),
        )
        return open_container(str(device), opening)
    except (av.error.FFmpegError, ValueError) as error:
        hopeless = getattr(error, "errno", None) in _NO_CAMERA
        raise SourceError(
            f"cannot open {spec.name} ({device}): {reason(error)}",
            retry="never" if hopeless else "soon",
        ) from error
