"""Enrolment: a person's photos, a folder for each person, and all photos by another model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ..core.errors import GalleryError, ImageError
from ..core.folders import PassedOver
from ..core.types import Image
from ..recognition.uncertainty import sigma
from ..storage.names import normalise_name, printable
from .faces import PhotoContent, entries, is_picture, main_face
from .guard import PhotoGuard
from .records import NO_NOTES, Embedded, Face, FaceReader, PhotoNotes, PhotoResult
from .store import DATES, Store

# Crops that are embedded at once. What is not reported yet is lost when an import is interrupted.
CHUNK = 8
RE_EMBED_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentRules:
    """What is asked of photos, and noted of them.

    Attributes:
        guard: judges whether they fit the person; None: nothing does.
        strict: photos that do not fit are refused; else they are warned of.
        dates: when they were taken (None: what the photo's EXIF says) and hold.
    """

    guard: PhotoGuard | None = None
    strict: bool = False
    dates: PhotoNotes = NO_NOTES

    def noted(self, found: PhotoNotes) -> PhotoNotes:
        """The notes of a photo that says this of itself."""
        given = {name: getattr(self.dates, name) for name in DATES}
        return replace(found, **{name: at for name, at in given.items() if at is not None})


DEFAULT_RULES = EnrolmentRules()


def enrol(
    store: Store,
    reader: FaceReader,
    name: str,
    photos: Iterable[Path | str | Image | PhotoContent],
    rules: EnrolmentRules = DEFAULT_RULES,
) -> Iterator[PhotoResult]:
    """See ``Gallery.add``; yields a result for each photo, in order, on the disk by then."""
    name = normalise_name(name)
    rules.dates.check()
    store.require_model(reader.model_id)
    if rules.guard is not None:
        rules.guard.begin(name)
    numbered = enumerate(photos, 1)
    while chunk := list(islice(numbered, CHUNK)):
        examined = [_examine(store, reader, name, photo, number) for number, photo in chunk]
        faces = [found for _, found in examined if isinstance(found, Face)]
        mu, logvar = reader.embed(np.stack([face.crop for face in faces])) if faces else ((), ())
        embedded = zip(mu, logvar, strict=True)
        for path, found in examined:
            if isinstance(found, PhotoResult):
                yield found
            else:
                embedding = Embedded(reader.model_id, *next(embedded))
                yield add_face(store, name, path, found, embedding, rules)


def add_face(
    store: Store,
    name: str,
    path: Path,
    face: Face,
    embedded: Embedded,
    rules: EnrolmentRules = DEFAULT_RULES,
) -> PhotoResult:
    """Store a face, unless it is refused; returns the result of the photo at ``path``."""
    doubt = None if rules.guard is None else rules.guard.judge(embedded.mu)
    if doubt is not None and rules.strict:
        return PhotoResult(path, False, doubt.kind, f"it {doubt}")
    face = replace(face, notes=rules.noted(face.notes))
    stored = store.add_face(name, face, embedded)
    if not isinstance(stored, int):
        return PhotoResult.already_enrolled(path, name, owner=stored)
    spread = float(sigma(embedded.logvar[None])[0])
    if rules.guard is not None:
        rules.guard.accept(embedded.mu)
    warnings = face.warnings if doubt is None else (*face.warnings, f"it {doubt}")
    return PhotoResult(path, True, warnings=warnings, sigma=spread, photo_id=stored, doubt=doubt)


def _examine(
    store: Store,
    reader: FaceReader,
    name: str,
    photo: Path | str | Image | PhotoContent,
    number: int,
) -> tuple[Path, Face | PhotoResult]:
    """The path of a photo, and its main face or why there is none."""
    if isinstance(photo, PhotoContent):
        path = photo.path
    else:
        path = Path(f"picture-{number}") if isinstance(photo, np.ndarray) else Path(photo)
    try:
        picture = photo if isinstance(photo, PhotoContent) else PhotoContent.load(photo, name=path)
        # Before it is decoded: importing a folder again is quick.
        owner = store.owner(picture.sha256)
        if owner is not None:
            return path, PhotoResult.already_enrolled(path, name, owner=owner)
        return path, main_face(picture, reader)
    except ImageError as error:
        return path, PhotoResult(path, False, error.reason, str(error))


def re_embed(store: Store, reader: FaceReader) -> Iterator[tuple[int, int]]:
    """See ``Gallery.re_embed``; yields how many are done, and of how many.

    The embeddings in use stay until the end: when interrupted, the gallery is as before, and a
    second run continues where the first one ended.
    """
    model_id = reader.model_id
    while True:
        missing = store.without_embedding(model_id)
        for start in range(0, len(missing), RE_EMBED_BATCH):
            ids = missing[start : start + RE_EMBED_BATCH]
            mu, logvar = reader.embed(np.stack([store.crop(photo) for photo in ids]))
            store.add_embeddings(ids, mu, logvar, model_id=model_id)
            yield start + len(ids), len(missing)
        # Another process may have added photos meanwhile: then again.
        if store.switch_model(model_id):
            return


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The people and photos of a folder that is to be imported.

    Attributes:
        people: names with their photos.
        notes: files and folders that are left out: they are no photos of a person.
        refused: folders of photos that are left out because of their names.
    """

    people: Sequence[tuple[str, Sequence[Path]]]
    notes: Sequence[str] = ()
    refused: Sequence[str] = ()

    @property
    def photos(self) -> int:
        """How many photos there are."""
        return sum(len(photos) for _, photos in self.people)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The results of an import: name and result of each photo, and notes on what is left out."""

    results: list[tuple[str, PhotoResult]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_import(folder: Path, *, skip: Collection[str] = (), files: bool = False) -> ImportPlan:
    """The people of a folder: each folder in it is a person, named like the folder.

    Args:
        folder: that is imported.
        skip: names of folders and files in it that are left out.
        files: each picture in the folder is a person, too, named like the file without its suffix.

    Raises GalleryError if it is not a folder, cannot be read, or has no people.
    """
    shown = printable(str(folder))
    people: list[tuple[str, Sequence[Path]]] = []
    notes: list[str] = []
    refused: list[str] = []
    passed = PassedOver()
    try:
        for entry in entries(folder, passed):
            if entry.name in skip:
                continue
            alone = not entry.is_dir()
            if alone and not (files and is_picture(entry)):
                hint = "; with --files it is a person" if is_picture(entry) else ""
                notes.append(f"'{printable(entry.name)}' is not a folder: left out{hint}")
                continue
            photos = [entry] if alone else _photos_of(entry, notes, passed)
            try:
                if photos:
                    people.append((normalise_name(entry.stem if alone else entry.name), photos))
            except GalleryError as error:
                refused.append(f"'{printable(entry.name)}' is left out: {error}")
    except OSError as error:
        raise GalleryError(
            f"the folder '{shown}' cannot be read: {error.strerror}; give a folder with a folder "
            "for each person"
        ) from error
    if not people and not refused:
        raise GalleryError(
            f"'{shown}' has no people: it needs a folder for each person, with photos in it; "
            "with --files each picture in it is a person, and one person's photos go in with "
            "'facestream gallery add NAME FOLDER'"
        )
    if (line := passed.summary(shown)) is not None:
        notes.append(line)
    return ImportPlan(people, notes, refused)


def _photos_of(entry: Path, notes: list[str], passed: PassedOver) -> list[Path]:
    shown = printable(entry.name)
    inside = entries(entry, passed)
    photos = [path for path in inside if is_picture(path)]
    folders = sum(path.is_dir() for path in inside)
    others = len(inside) - len(photos) - folders
    if folders:
        notes.append(f"the folders inside '{shown}' are left out ({folders})")
    if others:
        notes.append(f"'{shown}' has files that are not pictures, left out ({others})")
    if not photos:
        notes.append(f"the folder '{shown}' has no pictures: nobody added")
    return photos
