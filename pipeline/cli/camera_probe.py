"""What the cameras of the settings resolve to, and what they deliver."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import cv2
from rich.table import Table
from rich.text import Text

from ..core.config import CameraSettings, Settings, load_settings
from ..core.errors import ConfigError, OutputError, UsageError
from ..core.types import Image
from ..detection.region import view_of
from ..ingest.readers import camera_source
from ..sinks.files import make_folder
from ..sources import SourceOptions, SourceSpec, open_source
from .console import stderr, stdout
from .errors import BAD_INPUT
from .regions import draw_regions

# Cameras that are opened at once.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is asked of the cameras.

    Attributes:
        names: which; none: all of them.
        probe: open each.
        pictures: folder for a picture of each, or None.
    """

    names: tuple[str, ...]
    probe: bool
    pictures: Path | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A camera, without its secrets.

    Attributes:
        name: of the camera.
        source: URL with placeholders, or device.
        enabled: read when no sources are named.
        open: watched now; None without a schedule.
        next_change: when that changes, ISO 8601 in the local time zone; None: never.
        detect_every: see `View`, like the next ones.
        min_face: smallest face in pixels of the frame.
        detect_size: longest side that is searched, or None.
        watch: number of polygons.
        mask: number of polygons.
        overrides: the keys in which it differs from the groups.
        width: of its frames in pixels, when it was probed; likewise the next three.
        height: in pixels.
        fps: frames a second as it says itself.
        codec: short name.
        picture: file with its picture.
        problem: why it cannot be used; None when nothing is wrong.
    """

    name: str
    source: str
    enabled: bool
    open: bool | None
    next_change: str | None
    detect_every: int
    min_face: int
    detect_size: int | None
    watch: int
    mask: int
    overrides: tuple[str, ...]
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    codec: str | None = None
    picture: str | None = None
    problem: str | None = None


def list_cameras(inquiry: Inquiry, *, config: Path | None, form: Literal["json", "table"]) -> int:
    """Print the cameras; returns the exit status.

    Raises:
        ConfigError: the settings cannot be used, or have no such camera.
        OutputError: a picture cannot be written.
    """
    settings = load_settings(file=config, environment=os.environ)
    names = _chosen(inquiry.names, settings)
    if inquiry.pictures is not None:
        make_folder(inquiry.pictures)
    with ThreadPoolExecutor(min(_AT_ONCE, len(names))) as pool:
        answers = list(pool.map(lambda name: ask(name, settings, inquiry, os.environ), names))
    if form == "json":
        print(json.dumps([asdict(answer) for answer in answers], indent=2, ensure_ascii=False))
    else:
        stdout().print(_table(answers, inquiry))
        for answer in answers:
            if answer.picture is not None:
                stdout().print(f"Wrote {answer.picture}", soft_wrap=True, markup=False)
            if answer.problem is not None:
                stderr().print(f"facestream: {answer.problem}", soft_wrap=True, markup=False)
    return BAD_INPUT if any(answer.problem is not None for answer in answers) else 0


def ask(name: str, settings: Settings, inquiry: Inquiry, environment: Mapping[str, str]) -> Answer:
    """What a camera resolves to and, when probed, what it delivers.

    Args:
        name: of one of the settings' cameras.
        settings: all of them.
        inquiry: what is asked.
        environment: where secrets are looked up.

    Raises:
        OutputError: its picture cannot be written.
    """
    camera = settings.cameras[name]
    answer = _described(name, camera, settings)
    try:
        spec = camera_source(name, camera, environment)
        return _probed(answer, spec, settings, inquiry) if inquiry.probe else answer
    except OutputError:
        raise
    except UsageError as error:
        return replace(answer, problem=str(error))


def _chosen(names: Sequence[str], settings: Settings) -> list[str]:
    known = list(settings.cameras)
    if not known:
        raise ConfigError(
            "the settings have no cameras; give a file with [cameras.NAME] tables by --config"
        )
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise ConfigError(f"there is no camera {name!r}; {hint}")
    return list(dict.fromkeys(names)) or known


def _described(name: str, camera: CameraSettings, settings: Settings) -> Answer:
    view = view_of(settings, name)
    url = camera.url if camera.stream == "main" else camera.sub_url
    now = datetime.now(UTC)
    times = camera.times
    change = None if times is None else times.next_change(now)
    return Answer(
        name=name,
        source=str(url) if url is not None else f"device {camera.device}",
        enabled=camera.enabled,
        open=None if times is None else times.open_at(now),
        next_change=None if change is None else change.astimezone().isoformat(timespec="minutes"),
        detect_every=view.every,
        min_face=settings.for_source(name).detector.min_face,
        detect_size=view.size,
        watch=len(view.watch),
        mask=len(view.mask),
        overrides=tuple(
            f"{group}.{key} = {value}"
            for group, values in camera.overrides().items()
            for key, value in sorted(values.items())
        ),
    )


def _probed(answer: Answer, spec: SourceSpec, settings: Settings, inquiry: Inquiry) -> Answer:
    live = settings.for_source(answer.name).live
    options = SourceOptions(
        open_timeout=live.open_timeout,
        read_timeout=live.read_timeout,
        rtsp_transport=live.transport,
    )
    with open_source(spec, options) as source:
        info = source.info
        answer = replace(
            answer, width=info.width, height=info.height, fps=info.fps, codec=info.codec or None
        )
        if inquiry.pictures is None:
            return answer
        frame = next(iter(source), None)
    if frame is None:
        return replace(answer, problem=f"{answer.name} delivered no picture")
    path = inquiry.pictures / f"{answer.name}.jpg"
    _write(path, draw_regions(frame.image, view_of(settings, answer.name), title=answer.name))
    return replace(answer, picture=str(path))


def _write(path: Path, image: Image) -> None:
    coded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    try:
        if not coded:
            raise OutputError(f"cannot encode {path}")
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _table(answers: Sequence[Answer], inquiry: Inquiry) -> Table:
    table = Table()
    columns = ["Camera", "Source", "Watched", "Search"]
    for column in [*columns, *(["Delivers"] if inquiry.probe else []), "State"]:
        table.add_column(column, overflow="fold")
    for answer in answers:
        cells = [answer.name, answer.source, _watched(answer), _search(answer)]
        if inquiry.probe:
            cells.append(_delivers(answer))
        state = "problem" if answer.problem else "ok" if answer.enabled else "not enabled"
        # Text, not markup: brackets are part of addresses.
        table.add_row(*map(Text, cells), Text(state, "red" if answer.problem else "green"))
    return table


def _watched(answer: Answer) -> str:
    if answer.open is None:
        return "always"
    until = "" if answer.next_change is None else f" until {answer.next_change}"
    return f"{'now' if answer.open else 'not now,'}{until}"


def _search(answer: Answer) -> str:
    parts = [
        "every frame" if answer.detect_every == 1 else f"1 frame in {answer.detect_every}",
        f"faces from {answer.min_face} px",
    ]
    if answer.detect_size is not None:
        parts.append(f"at {answer.detect_size} px")
    for count, what in ((answer.watch, "watched"), (answer.mask, "masked")):
        if count:
            parts.append(f"{count} {what} area{'s' if count > 1 else ''}")
    return ", ".join(parts)


def _delivers(answer: Answer) -> str:
    if answer.width is None or answer.height is None:
        return "–"
    rate = "" if answer.fps is None else f" {answer.fps:g} fps"
    return f"{answer.width}×{answer.height}{rate} {answer.codec or ''}".rstrip()
