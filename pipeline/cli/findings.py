"""The findings of ``gallery check`` in words, also those of photos that were just added."""

from __future__ import annotations

import html
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import cv2

from ..core.config import Settings
from ..core.errors import GalleryCorrupt
from ..core.location import locate
from ..gallery import Gallery
from ..gallery.findings import DoubtfulPhoto, Finding, GalleryCheck
from ..storage.names import printable
from .pages import image, picture_url, write_page


def check_with(
    gallery: Gallery, settings: Settings, people: Collection[str] | None = None
) -> GalleryCheck:
    """Check a gallery with the thresholds of the settings; see ``Gallery.check``."""
    return gallery.check(people, recognition=settings.recognition)


def finding_lines(found: GalleryCheck, gallery: str | None) -> list[str]:
    """A line for each problem, with the command that mends it; ``gallery`` is what was given."""
    lines = []
    for pair in found.same:
        one, other = (printable(name) for name in pair.names)
        lines.append(
            f"'{one}' and '{other}' may be one person: similarity {pair.similarity:.2f}, and from "
            f"{found.threshold:.2f} on a face gets the name; if so: "
            + command_line(gallery, "merge", *pair.names)
        )
    return lines + [
        f"{_doubt(photo)}; if it is wrong: "
        + command_line(gallery, "remove", photo.name, photo=photo.photo_id)
        for photo in found.doubtful
    ]


def hint_lines(found: GalleryCheck) -> list[str]:
    """The findings that are only hints, counted by kind."""
    words = {
        "look_alike": "pairs of people who resemble each other",
        "duplicate": "photos that are there twice",
        "few_photos": "people with a single photo or none",
        "similar_photos": "people whose photos are all nearly alike",
    }
    counts = dict.fromkeys(words, 0)
    for one in found.findings:
        if not one.problem and one.kind in counts:
            counts[one.kind] += 1
    return [f"{words[kind]}: {count}" for kind, count in counts.items() if count]


def finding_dict(one: Finding, gallery: Gallery, given: str | None) -> dict[str, Any]:
    """A finding for JSON, with its picture (the photo's path if the file is there, else the face
    as a data URL) and the command that mends it."""
    picture = None
    if one.photo_id is not None:
        there = one.path is not None and Path(one.path).is_file()
        picture = one.path if there else _face(gallery, one.photo_id)
    return {**one.to_dict(), "picture": picture, "command": mending(one, given)}


def write_findings(path: Path, found: GalleryCheck, gallery: Gallery, given: str | None) -> None:
    """One HTML file with the faces of all findings.

    Raises:
        OutputError: it cannot be written.
    """
    headline = (
        f"{len(found.findings)} findings in {found.photos:,} photos of {found.people:,} people"
    )
    items = _items(found, gallery, given)
    write_page(path, f"Check of {gallery.location.name}", headline, items)


def _items(found: GalleryCheck, gallery: Gallery, given: str | None) -> Iterator[str]:
    for one in found.findings:
        urls = [_face(gallery, n) for n in (one.photo_id, one.other_photo_id) if n is not None]
        words = html.escape(describe(one))
        yield (
            f'<li>{image(*filter(None, urls))}<p class="when">{html.escape(printable(one.person))}'
            f'</p><p>{words}</p><p class="where">{html.escape(printable(one.path or ""))}</p>'
            f"<p><code>{html.escape(mending(one, given))}</code></p></li>"
        )


def describe(one: Finding) -> str:
    """A finding in words, without the person."""
    other, own = printable(one.other or ""), one.similarity or 0.0
    near = one.other_similarity or 0.0
    match one.kind:
        case "look_alike" if one.same_person:
            return f"may be '{other}' under another name (similarity {near:.2f})"
        case "look_alike":
            return f"resembles '{other}' ({near:.2f}): either may be taken for the other"
        case "other_person":
            return f"photo {one.photo_id} resembles '{other}' ({near:.2f}) more ({own:.2f})"
        case "outlier":
            return f"photo {one.photo_id} does not resemble the other photos ({own:.2f})"
        case "uncertain":
            return f"photo {one.photo_id} shows too little of the face (σ {one.sigma or 0:.2f})"
        case "duplicate":
            return f"photo {one.photo_id} is photo {one.other_photo_id} of '{other}' again"
        case "few_photos":
            return f"has {one.photos} photos that take part"
    return f"has {one.photos} photos that are all nearly alike (at least {own:.2f})"


def mending(one: Finding, given: str | None) -> str:
    """The command that mends a finding."""
    if one.mending == "merge":
        return command_line(given, "merge", one.other or "", one.person)
    if one.mending == "add":
        return command_line(given, "add", one.person) + " PHOTO"
    return command_line(given, "set-aside", str(one.photo_id), "--reason", one.kind)


def _face(gallery: Gallery, photo_id: int) -> str | None:
    try:
        coded, data = cv2.imencode(".jpg", gallery.crop(photo_id))
    except GalleryCorrupt:
        return None
    return picture_url(data.tobytes()) if coded else None


def _doubt(photo: DoubtfulPhoto) -> str:
    name = printable(photo.name)
    what = f"the photo '{printable(photo.path)}' of '{name}'"
    if photo.problem == "other_person":
        return (
            f"{what} resembles '{printable(photo.other or '')}' ({photo.other_similarity:.2f}) "
            f"more than the other photos of '{name}' ({photo.similarity or 0:.2f})"
        )
    if photo.problem == "unlike":
        return f"{what} does not resemble the other photos ({photo.similarity or 0:.2f})"
    return f"{what} shows too little of the face to recognise it by (σ {photo.sigma:.2f})"


def command_line(gallery: str | None, command: str, *names: str, photo: int | None = None) -> str:
    """A command of ``facestream gallery`` on this gallery, as it is typed."""
    words = ["facestream", "gallery", command]
    if gallery is not None:
        words += ["--gallery", str(locate(gallery))]
    if photo is not None:
        words += ["--photo", str(photo)]
    if any(name.startswith("-") for name in names) and "--reason" not in names:
        words.append("--")
    return printable(shlex.join([*words, *names]))
