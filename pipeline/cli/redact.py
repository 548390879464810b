"""``facestream redact``: cover faces of a video or a picture by who they are."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from rich.markup import escape
from rich.text import Text

from ..core.config import load_settings
from ..redaction import (
    RedactionCancelled,
    RedactionOptions,
    RedactionProgress,
    RedactionReport,
    redact,
)
from ..redaction.options import OnProgress
from ..redaction.report import RedactedFace
from ..storage.names import printable
from .console import clock, plural, print_json, say, stdout, table, warn
from .errors import FAILED, INTERRUPTED
from .progress import show_count
from .run import announce_gallery, chosen_gallery
from .signals import stopping_on_signals
from .summary import reason_in_words

log = logging.getLogger(__name__)

_STEPS = {"search": "frames searched", "cover": "frames covered", "verify": "frames verified"}
FACES_SHOWN = 30


def redact_file(
    video: Path,
    out: Path,
    options: RedactionOptions,
    gallery: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    *,
    as_json: bool,
) -> int:
    """Redact, print a report, and return the exit status.

    Raises UsageError if it cannot be done; see `redact`.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    settings.storage.apply()
    known = None if options.choice.everybody else chosen_gallery(gallery)
    cancel = threading.Event()
    try:
        with stopping_on_signals(cancel.set, doing="stopping"), _progress() as show:
            asked = replace(options, on_progress=show, cancel=cancel)
            report = redact(video, out, asked, gallery=known, settings=settings)
    except RedactionCancelled:
        warn("interrupted; nothing was written")
        return INTERRUPTED
    if not options.choice.everybody:
        announce_gallery(gallery, known)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    failed = report.verification is not None and not report.verification.passed
    for note in report.notes:
        warn(f"{out}: {note}")
    if failed:
        warn(_failure(report))
    return FAILED if failed else 0


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """Shows the frames of each step, and in the log the time that it may still take."""
    began: dict[str, float] = {}
    with show_count("frames", None) as show:

        def note(now: RedactionProgress) -> None:
            since = began.setdefault(now.step, monotonic())
            more = _STEPS[now.step].removeprefix("frames ")
            if now.total and now.frames:
                passed = monotonic() - since
                left = passed * (now.total - now.frames) / now.frames
                more += f", {clock(max(0.0, left))} left in this step"
            show(now.frames, more, total=now.total)

        yield note


def _print(report: RedactionReport) -> None:
    shown = table(
        *("Who", "When", "Covered", "Shown", "Longest gap", "Smallest"),
        right=("Covered", "Shown", "Longest gap", "Smallest"),
    )
    for face in report.faces[:FACES_SHOWN]:
        when = f"{clock(face.start)}–{clock(face.end)}"
        counts = str(face.covered), str(face.shown), str(face.gap), f"{face.smallest:.0f} px"
        shown.add_row(_who(face), when, *counts)
    if report.faces:
        stdout().print(shown)
    if len(report.faces) > FACES_SHOWN:
        say(f"and {len(report.faces) - FACES_SHOWN} more faces; --json lists all")
    old, new = report.codec
    codec = old if old == new else f"{old} to {new}"
    say(
        f"Wrote {escape(report.out)}: {plural(report.frames, 'frame')}, {codec}, "
        f"{report.frames_covered} with a cover; {plural(report.covered, 'face')} covered, "
        f"{report.kept} shown; {report.seconds:.1f} s "
        f"({report.frames / max(report.seconds, 1e-3):.1f} fps). "
        f"Faces below {report.min_face} px were not searched for."
    )
    check = report.verification
    if check is not None and check.passed:
        say(
            f"Verified {plural(check.frames, 'frame')}: no face outside of covers, nobody "
            "recognised within them."
        )


def _who(face: RedactedFace) -> Text:
    if face.name is not None:
        return Text(printable(face.name), style="green")
    who = Text(f"unknown, {face.verdict}" if face.reason else "a face", style="yellow")
    if face.reason:
        who.append(f" ({reason_in_words(face.reason, ())})")
    return who


def _failure(report: RedactionReport) -> str:
    check = report.verification
    assert check is not None
    said = []
    if check.uncovered:
        said.append(f"faces outside of covers at {_times(check.uncovered)}")
    if check.recognised:
        said.append(f"people recognised within covers at {_times(check.recognised)}")
    return (
        f"{report.out}: {'; '.join(said)}. Look at these places; a smaller --min-face, a larger "
        "--margin or --style solid may help"
    )


def _times(times: tuple[float, ...]) -> str:
    more = ", …" if len(times) > 5 else ""
    return ", ".join(f"{at:.2f} s" for at in times[:5]) + more
