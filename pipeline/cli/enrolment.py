"""Progress and report of ``gallery add`` and ``gallery import``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from facestream.engines.errors import EngineError
from rich.text import Text

from ..core.config import Settings
from ..core.errors import FacestreamError, GalleryError
from ..gallery import Gallery, PhotoResult
from ..gallery.findings import GalleryCheck
from ..storage.names import printable
from .console import plural, print_json, say, stdout, table, warn
from .errors import BAD_INPUT, INTERRUPTED
from .findings import check_with, command_line, finding_lines
from .progress import show_count

Step = tuple[str, PhotoResult]
FINDINGS_SHOWN = 8


def enrol(
    gallery: Gallery,
    steps: Iterable[Step],
    *,
    total: int,
    notes: Sequence[str],
    refused: Sequence[str] = (),
    as_json: bool,
    settings: Settings,
    given: str | None,
) -> int:
    """Enrol photos one by one and report; returns the exit status.

    Args:
        gallery: where the photos are added.
        steps: adds a photo each; a name and what became of the photo.
        total: number of photos.
        notes: about the input, a line each.
        refused: why parts of the input were not used, a line each.
        as_json: print JSON instead of words.
        settings: have the thresholds for two photos that resemble each other.
        given: the gallery's path on the command line.

    Raises:
        GalleryError: no photo could be used.
        FacestreamError, EngineError: enrolment failed; what was added before is reported.
    """
    done: list[Step] = []
    interrupted = False
    failure: Exception | None = None
    try:
        with show_count("photos", total) as show:
            for step in steps:
                done.append(step)
                show(len(done))
    except KeyboardInterrupt:
        interrupted = True
    except (FacestreamError, EngineError, OSError) as error:
        if not done:
            raise
        failure = error
    added = sum(result.accepted for _, result in done)
    duplicates = sum(result.reason == "duplicate" for _, result in done)
    rejected = [(name, result) for name, result in done if result.rejected]
    used = bool(added or duplicates)
    names = {name for name, result in done if result.accepted}
    found = None
    if names and failure is None and not interrupted:
        try:
            found = check_with(gallery, settings, names)
        except KeyboardInterrupt:
            interrupted = True
    if as_json:
        content = {
            "gallery": str(gallery.location),
            "added": added,
            "duplicates": duplicates,
            "rejected": len(rejected),
            "photos": [{"name": name, **result.to_dict()} for name, result in done],
            "notes": [*notes, *refused],
            "check": None if found is None else found.to_dict(),
        }
        print_json(content)
    else:
        if used or len(rejected) > 1 or failure is not None:  # else the error below says it
            _print_rejected(rejected)
        for name, result in done:
            for line in result.warnings[: -1 if result.doubt else None]:
                warn(f"{printable(str(result.path))} ({name}): {line}")
        for note in (*notes, *refused):
            warn(note)
        if used or interrupted or failure is not None:
            say(_summary(names, added=added, duplicates=duplicates, rejected=len(rejected)))
        doubts = [_doubt_line(result, given) for _, result in done if result.doubt is not None]
        rest = [] if found is None else finding_lines(_without(found, done), given)
        _warn_of([*doubts, *rest])
    if interrupted:
        warn("interrupted; what was added is kept")
        return INTERRUPTED
    if failure is not None:
        raise failure
    if not used:
        raise GalleryError(_nothing_added(done, refused))
    return BAD_INPUT if rejected or refused else 0


def _doubt_line(result: PhotoResult, given: str | None) -> str:
    """A doubtful photo, with the command that mends it."""
    doubt, path = result.doubt, printable(str(result.path))
    assert doubt is not None
    if doubt.kind == "outlier":
        mend = command_line(given, "set-aside", str(result.photo_id))
        return f"{path} ({printable(doubt.name)}): {doubt}; if it is wrong: {mend}"
    merge = command_line(given, "merge", doubt.other or "", doubt.name)
    text = str(doubt).removesuffix("'facestream gallery merge'")
    return f"{path} ({printable(doubt.name)}): {text}{merge}"


def _without(found: GalleryCheck, done: Sequence[Step]) -> GalleryCheck:
    """What was found beyond the doubts that are named already."""
    photos = {result.photo_id for _, result in done if result.doubt is not None}
    pairs = {
        frozenset((result.doubt.name, result.doubt.other))
        for _, result in done
        if result.doubt is not None
    }
    return replace(
        found,
        same=tuple(pair for pair in found.same if frozenset(pair.names) not in pairs),
        doubtful=tuple(photo for photo in found.doubtful if photo.photo_id not in photos),
    )


def _nothing_added(done: Sequence[Step], refused: Sequence[str]) -> str:
    if not done:
        return "nobody could be added" + (f": {refused[0]}" if refused else "")
    if len(done) == 1:
        result = done[0][1]
        path, detail = printable(str(result.path)), printable(result.detail)
        return f"'{path}' cannot be used: {detail} ({result.reason})"
    reasons = Counter(result.reason for _, result in done)
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"none of the {len(done)} photos can be used ({listed}); give photos of one face each"


def _summary(names: Collection[str], *, added: int, duplicates: int, rejected: int) -> str:
    text = f"Added {plural(added, 'photo')}"
    if names:
        text += f" of '{next(iter(names))}'" if len(names) == 1 else f" of {len(names):,} people"
    for count, what in ((duplicates, "there already"), (rejected, "rejected")):
        if count:
            text += f"; {count} {'was' if count == 1 else 'were'} {what}"
    return text + "."


def _warn_of(lines: Sequence[str]) -> None:
    for line in lines[:FINDINGS_SHOWN]:
        warn(line)
    if len(lines) > FINDINGS_SHOWN:
        warn(f"and {len(lines) - FINDINGS_SHOWN} more: 'facestream gallery check' lists all")


def _print_rejected(rejected: Sequence[Step]) -> None:
    """A table on a terminal; elsewhere a line each, which does not fold the paths."""
    shown = table("Rejected", "Person", "Reason", "Detail")
    for name, result in rejected:
        path, detail = printable(str(result.path)), printable(result.detail)
        if not stdout().is_terminal:
            say(f"rejected {path} ({name}): {result.reason}: {detail}")
        reason = Text(str(result.reason), style="yellow")
        shown.add_row(Text(path), Text(name), reason, Text(detail))
    if rejected and stdout().is_terminal:
        stdout().print(shown)
