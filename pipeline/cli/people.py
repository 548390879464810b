"""What the commands of ``facestream gallery`` do."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from ..core.config import Settings, default_gallery_path, load_settings
from ..core.errors import GalleryError, UsageError
from ..gallery import Gallery, ImportPlan, Person, PhotoResult, VisionReader, plan_import
from ..gallery.database import Create
from ..gallery.faces import expand_photos
from ..gallery.names import normalise_name, printable
from ..gallery.transfer import is_export, read_export
from .console import plural, print_json, say, stdout, warn
from .errors import BAD_INPUT, INTERRUPTED
from .flags import Form
from .progress import show_count

Step = tuple[str, PhotoResult]


@dataclass(frozen=True, slots=True)
class GalleryRequest:
    """Which gallery, and what its settings come from beside the environment."""

    path: Path | None
    config: Path | None
    flags: Mapping[str, Any] = field(default_factory=dict)


def add_photos(gallery: GalleryRequest, name: str, photos: Sequence[Path], *, form: Form) -> int:
    """Add a person's photos and report; returns the exit status.

    Raises:
        UsageError: none could be used, or the name or the gallery cannot.
    """
    name = normalise_name(name)
    files, notes = expand_photos(photos)
    if not files:
        raise UsageError("; ".join(notes) + "; give picture files or a folder of them")
    with _opened(gallery, create="if_missing") as people:
        steps = ((name, result) for result in people.iter_add(name, files))
        done, ended = _shown(steps, total=len(files))
        return _report(people, done, notes=notes, refused=(), ended=ended, form=form)


def import_people(gallery: GalleryRequest, folder: Path, *, form: Form) -> int:
    """Import a folder and report; returns the exit status.

    Raises:
        UsageError: the folder or the gallery cannot be used, or none of the photos.
    """
    restoring = is_export(folder)
    if restoring:
        plan = ImportPlan(())
        total = sum(len(person.photos) for person in read_export(folder).people)
    else:
        plan = plan_import(folder)
        total = plan.photos
    with _opened(gallery, create="if_missing") as people:
        steps = people.iter_restore(folder) if restoring else people.iter_import(plan)
        done, ended = _shown(steps, total=total)
        return _report(people, done, notes=plan.notes, refused=plan.refused, ended=ended, form=form)


def list_people(gallery: GalleryRequest, *, form: Form) -> None:
    """Print who is there.

    Raises:
        UsageError: the gallery cannot be used.
    """
    people: list[Person] = []
    if gallery.path is not None or default_gallery_path().exists():
        with _opened(gallery, create="never") as opened:
            people = opened.people()
    else:
        _settings(gallery)  # a mistake in them is one here, too
    if form == "json":
        print_json([person.to_dict() for person in people])
        return
    if not people:
        say("The gallery is empty: 'facestream gallery add NAME PHOTO' adds someone.")
        return
    table = _table("Name", "Photos", "Since")
    for person in people:
        table.add_row(Text(person.name), str(person.photos), f"{person.created_at:%Y-%m-%d}")
    stdout().print(table)


def show_person(gallery: GalleryRequest, name: str, *, form: Form) -> None:
    """Print a person's photos.

    Raises:
        UsageError: there is no such person, or the gallery cannot be used.
    """
    with _opened(gallery, create="never") as people:
        person, photos = people.person(name), people.photos(name)
    if form == "json":
        print_json({**person.to_dict(), "photos": [photo.to_dict() for photo in photos]})
        return
    table = _table("Photo", "Picture", "Face", "Score", "Added", title=Text(person.name))
    for photo in photos:
        width, height = photo.box[2:] - photo.box[:2]
        table.add_row(
            Text(printable(photo.path), overflow="fold"),
            f"{photo.width}×{photo.height}",
            f"{width:.0f}×{height:.0f}",
            f"{photo.score:.3f}",
            f"{photo.created_at:%Y-%m-%d %H:%M}",
        )
    stdout().print(table)


def remove_person(gallery: GalleryRequest, name: str, *, ask: Literal["always", "never"]) -> None:
    """Remove a person, after a question on the terminal.

    Raises:
        UsageError: there is no such person, or there is no terminal for the question.
    """
    with _opened(gallery, create="never") as people:
        person = people.person(name)
        if ask == "always":
            if not sys.stdin.isatty():
                raise UsageError(
                    f"removing '{person.name}' needs a confirmation, and there is no terminal; "
                    "give --yes"
                )
            question = f"Remove '{person.name}' with {plural(person.photos, 'photo')}?"
            if not typer.confirm(question):
                say("Nobody was removed.")
                return
        people.remove(person.name)
    say(f"Removed '{person.name}' with {plural(person.photos, 'photo')}.")


def rename_person(gallery: GalleryRequest, old: str, new: str) -> None:
    """Rename a person.

    Raises:
        UsageError: there is no such person, or the new name is taken or cannot be used.
    """
    with _opened(gallery, create="never") as people:
        before = people.person(old)
        after = people.rename(old, new)
    say(f"'{before.name}' is now '{after.name}'.")


def export_gallery(gallery: GalleryRequest, folder: Path) -> None:
    """Export the gallery.

    Raises:
        UsageError: the folder or the gallery cannot be used.
    """
    with _opened(gallery, create="never") as people:
        done = people.export(folder)
    photos = sum(len(person.photos) for person in done.people)
    say(
        f"Exported {_count(len(done.people), 'person', 'people')} with {plural(photos, 'photo')} "
        f"to {printable(str(folder))}."
    )


def re_embed_gallery(gallery: GalleryRequest) -> None:
    """Embed all kept faces with the shipped model.

    Raises:
        UsageError: the gallery cannot be used.
    """
    with _opened(gallery, create="never") as people, show_count("faces", None) as show:
        before = people.model_id
        count = people.re_embed(progress=lambda done, total: show(done, total=total))
        after = people.model_id
    if count == 0 and before == after:
        say(f"Nothing to do: all embeddings are of the model '{after}'.")
    else:
        say(f"Embedded {plural(count, 'photo')} with the model '{after}'.")


def _settings(gallery: GalleryRequest) -> Settings:
    return load_settings(file=gallery.config, environment=os.environ, flags=gallery.flags)


@contextmanager
def _opened(gallery: GalleryRequest, *, create: Create) -> Iterator[Gallery]:
    with (
        VisionReader(serving=_settings(gallery).runtime.serving()) as reader,
        Gallery(gallery.path, create=create, reader=reader) as opened,
    ):
        yield opened


def _shown(steps: Iterable[Step], *, total: int) -> tuple[list[Step], bool]:
    """All steps, with progress shown, and whether they were interrupted."""
    done: list[Step] = []
    try:
        with show_count("photos", total) as show:
            for step in steps:
                done.append(step)
                show(len(done))
    except KeyboardInterrupt:
        return done, True
    return done, False


def _report(
    people: Gallery,
    done: Sequence[Step],
    *,
    notes: Sequence[str],
    refused: Sequence[str],
    ended: bool,
    form: Form,
) -> int:
    added = sum(result.accepted for _, result in done)
    duplicates = sum(result.reason == "duplicate" for _, result in done)
    rejected = [(name, result) for name, result in done if result.rejected]
    if form == "json":
        content = {
            "gallery": str(people.path),
            "added": added,
            "duplicates": duplicates,
            "rejected": len(rejected),
            "photos": [{"name": name, **result.to_dict()} for name, result in done],
            "notes": [*notes, *refused],
        }
        print_json(content)
    else:
        _print_rejected(rejected)
        for note in (*notes, *refused):
            warn(note)
        say(_summary(done, added=added, duplicates=duplicates, rejected=len(rejected)))
    if ended:
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
        return (
            f"'{printable(str(result.path))}' cannot be used: {printable(result.detail)} "
            f"({result.reason})"
        )
    reasons = Counter(result.reason for _, result in done)
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"none of the {len(done)} photos can be used ({listed}); give photos of one face each"


def _summary(done: Sequence[Step], *, added: int, duplicates: int, rejected: int) -> str:
    names = {name for name, result in done if result.accepted}
    text = f"Added {plural(added, 'photo')}"
    if len(names) == 1:
        text += f" of '{names.pop()}'"
    elif names:
        text += f" of {_count(len(names), 'person', 'people')}"
    if duplicates:
        text += f"; {duplicates} {'was' if duplicates == 1 else 'were'} there already"
    if rejected:
        text += f"; {rejected} {'was' if rejected == 1 else 'were'} rejected"
    return text + "."


def _print_rejected(rejected: Sequence[Step]) -> None:
    """A table on a terminal; elsewhere a line each, which does not fold the paths."""
    table = _table("Rejected", "Person", "Reason", "Detail")
    for name, result in rejected:
        path, detail = printable(str(result.path)), printable(result.detail)
        if not stdout().is_terminal:
            say(f"rejected {path} ({name}): {result.reason}: {detail}")
        table.add_row(
            Text(path), Text(name), Text(str(result.reason), style="yellow"), Text(detail)
        )
    if rejected and stdout().is_terminal:
        stdout().print(table)


def _table(*columns: str, title: Text | None = None) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
