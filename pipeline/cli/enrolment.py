"""Progress and report of ``gallery add`` and ``gallery import``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.text import Text

from ..core.errors import GalleryError
from ..gallery import Gallery, PhotoResult
from ..gallery.names import printable
from .console import plural, print_json, say, stdout, table, warn
from .errors import BAD_INPUT, INTERRUPTED
from .progress import show_count

Step = tuple[str, PhotoResult]


def enrol(
    gallery: Gallery,
    steps: Iterable[Step],
    *,
    total: int,
    notes: Sequence[str],
    refused: Sequence[str] = (),
    as_json: bool,
) -> int:
    """Enrol photos one by one and report; returns the exit status.

    Args:
        gallery: where the photos are added.
        steps: adds a photo each; a name and what became of the photo.
        total: number of photos.
        notes: about the input, a line each.
        refused: why parts of the input were not used, a line each.
        as_json: print JSON instead of words.

    Raises:
        GalleryError: no photo could be used.
    """
    done: list[Step] = []
    interrupted = False
    try:
        with show_count("photos", total) as show:
            for step in steps:
                done.append(step)
                show(len(done))
    except KeyboardInterrupt:
        interrupted = True
    added = sum(result.accepted for _, result in done)
    duplicates = sum(result.reason == "duplicate" for _, result in done)
    rejected = [(name, result) for name, result in done if result.rejected]
    if as_json:
        content = {
            "gallery": str(gallery.path),
            "added": added,
            "duplicates": duplicates,
            "rejected": len(rejected),
            "photos": [{"name": name, **result.to_dict()} for name, result in done],
            "notes": [*notes, *refused],
        }
        print_json(content)
    else:
        _print_rejected(rejected)
        for name, result in done:
            for line in result.warnings:
                warn(f"{printable(str(result.path))} ({name}): {line}")
        for note in (*notes, *refused):
            warn(note)
        say(_summary(done, added=added, duplicates=duplicates, rejected=len(rejected)))
    if interrupted:
        warn("interrupted; what was added is kept")
        return INTERRUPTED
    if not added and not duplicates:
        raise GalleryError(_nothing_added(done, refused))
    return BAD_INPUT if rejected or refused else 0


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


def _summary(done: Sequence[Step], *, added: int, duplicates: int, rejected: int) -> str:
    names = {name for name, result in done if result.accepted}
    text = f"Added {plural(added, 'photo')}"
    if names:
        text += f" of '{names.pop()}'" if len(names) == 1 else f" of {len(names):,} people"
    for count, what in ((duplicates, "there already"), (rejected, "rejected")):
        if count:
            text += f"; {count} {'was' if count == 1 else 'were'} {what}"
    return text + "."


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
