"""What the commands of ``facestream gallery`` do."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..core.config import default_gallery_path, load_settings
from ..core.errors import GalleryError, UsageError
from ..gallery import (
    Gallery,
    ImportPlan,
    Person,
    Photo,
    PhotoResult,
    VisionReader,
    plan_import,
)
from ..gallery.database import Create
from ..gallery.faces import expand_photos
from ..gallery.names import normalise_name, printable
from ..gallery.transfer import is_export, read_export
from .console import plural, stderr, stdout
from .errors import BAD_INPUT, INTERRUPTED

log = logging.getLogger(__name__)

Form = Literal["table", "json"]
Step = tuple[str, PhotoResult]

LOG_SECONDS = 5.0


def add_photos(
    gallery: Path | None,
    name: str,
    photos: Sequence[Path],
    *,
    form: Form,
    flags: Mapping[str, Any] | None = None,
) -> int:
    """Add a person's photos and report; returns the exit status.

    Raises:
        UsageError: none could be used, or the name or the gallery cannot.
    """
    name = normalise_name(name)
    files, notes = expand_photos(photos)
    if not files:
        raise UsageError("; ".join(notes) + "; give picture files or a folder of them")
    with _opened(gallery, create="if_missing", flags=flags) as people:
        steps = ((name, result) for result in people.iter_add(name, files))
        done, ended = _followed(steps, total=len(files), title="adding photos")
        return _report(people, done, notes=notes, refused=(), ended=ended, form=form)


def import_people(
    gallery: Path | None, folder: Path, *, form: Form, flags: Mapping[str, Any] | None = None
) -> int:
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
    with _opened(gallery, create="if_missing", flags=flags) as people:
        steps = people.iter_restore(folder) if restoring else people.iter_import(plan)
        done, ended = _followed(steps, total=total, title="importing photos")
        return _report(people, done, notes=plan.notes, refused=plan.refused, ended=ended, form=form)


def list_people(gallery: Path | None, *, form: Form) -> None:
    """Print who is there.

    Raises:
        UsageError: the gallery cannot be used.
    """
    people: list[Person] = []
    if gallery is not None or default_gallery_path().exists():
        with _opened(gallery, create="never") as opened:
            people = opened.people()
    if form == "json":
        print(json.dumps([_person(person) for person in people], indent=2, ensure_ascii=False))
        return
    if not people:
        stdout().print(
            "The gallery is empty: 'facestream gallery add NAME PHOTO' adds someone.",
            soft_wrap=True,
        )
        return
    table = _table("Name", "Photos", "Since")
    for person in people:
        table.add_row(Text(person.name), str(person.photos), f"{person.created_at:%Y-%m-%d}")
    stdout().print(table)


def show_person(gallery: Path | None, name: str, *, form: Form) -> None:
    """Print a person's photos.

    Raises:
        UsageError: there is no such person, or the gallery cannot be used.
    """
    with _opened(gallery, create="never") as people:
        person, photos = people.person(name), people.photos(name)
    if form == "json":
        content = {**_person(person), "photos": [_photo(photo) for photo in photos]}
        print(json.dumps(content, indent=2, ensure_ascii=False))
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


def remove_person(gallery: Path | None, name: str, *, ask: Literal["always", "never"]) -> None:
    """Remove a person, after a question on the terminal.

    Raises:
        UsageError: there is no such person, or nobody can be asked.
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
                stdout().print("Nobody was removed.")
                return
        people.remove(person.name)
    _say(f"Removed '{person.name}' with {plural(person.photos, 'photo')}.")


def rename_person(gallery: Path | None, old: str, new: str) -> None:
    """Rename a person.

    Raises:
        UsageError: there is no such person, or the new name is taken or cannot be used.
    """
    with _opened(gallery, create="never") as people:
        before = people.person(old)
        after = people.rename(old, new)
    _say(f"'{before.name}' is now '{after.name}'.")


def export_gallery(gallery: Path | None, folder: Path) -> None:
    """Export the gallery.

    Raises:
        UsageError: the folder or the gallery cannot be used.
    """
    with _opened(gallery, create="never") as people:
        done = people.export(folder)
    photos = sum(len(person.photos) for person in done.people)
    _say(
        f"Exported {_count(len(done.people), 'person', 'people')} with {plural(photos, 'photo')} "
        f"to {printable(str(folder))}."
    )


def re_embed_gallery(gallery: Path | None, *, flags: Mapping[str, Any] | None = None) -> None:
    """Embed all kept faces with the shipped model.

    Raises:
        UsageError: the gallery cannot be used.
    """
    with (
        _opened(gallery, create="never", flags=flags) as people,
        _bar("embedding faces", None) as advance,
    ):
        before = people.model_id
        count = people.re_embed(progress=advance)
        after = people.model_id
    if count == 0 and before == after:
        _say(f"Nothing to do: all embeddings are of the model '{after}'.")
    else:
        _say(f"Embedded {plural(count, 'photo')} with the model '{after}'.")


@contextmanager
def _opened(
    gallery: Path | None, *, create: Create, flags: Mapping[str, Any] | None = None
) -> Iterator[Gallery]:
    settings = load_settings(environment=os.environ, flags=flags)
    with (
        VisionReader(serving=settings.runtime.serving()) as reader,
        Gallery(gallery, create=create, reader=reader) as opened,
    ):
        yield opened


def _followed(steps: Iterable[Step], *, total: int, title: str) -> tuple[list[Step], bool]:
    """All steps, shown as they come, and whether they were interrupted."""
    done: list[Step] = []
    try:
        with _bar(title, total) as advance:
            for step in steps:
                done.append(step)
                advance(len(done), total)
    except KeyboardInterrupt:
        return done, True
    return done, False


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Any]:
    """Yields what is called with how many are done and of how many."""
    if not stderr().is_terminal:
        last = time.monotonic()

        def note(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= LOG_SECONDS:
                last = time.monotonic()
                log.info("%s: %d of %d", title, done, total)

        yield note
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done, total: progress.update(task, completed=done, total=total)


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
            "photos": [_result(name, result) for name, result in done],
            "notes": [*notes, *refused],
        }
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print_rejected(rejected)
        for note in (*notes, *refused):
            stderr().print(f"facestream: {note}", soft_wrap=True, markup=False)
        _say(_summary(done, added=added, duplicates=duplicates, rejected=len(rejected)))
    if ended:
        stderr().print("facestream: interrupted; what was added is kept", markup=False)
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
            _say(f"rejected {path} ({name}): {result.reason}: {detail}")
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


def _say(text: str) -> None:
    """One line, with nothing in it read as markup: names can hold brackets."""
    stdout().print(text, soft_wrap=True, markup=False)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _person(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "name": person.name,
        "created_at": person.created_at.isoformat(),
        "photos": person.photos,
    }


def _photo(photo: Photo) -> dict[str, Any]:
    return {
        "id": photo.id,
        "path": photo.path,
        "sha256": photo.sha256,
        "width": photo.width,
        "height": photo.height,
        "box": [round(float(value), 1) for value in photo.box],
        "score": round(photo.score, 4),
        "created_at": photo.created_at.isoformat(),
    }


def _result(name: str, result: PhotoResult) -> dict[str, Any]:
    return {
        "name": name,
        "path": str(result.path),
        "accepted": result.accepted,
        "reason": result.reason,
        "detail": result.detail,
    }
