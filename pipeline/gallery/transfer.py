"""Export of a gallery to a folder of plain files, and import of such a folder.

``gallery.json`` describes people and photos, ``crops/`` holds the aligned faces as PNG and
``embeddings.npz`` the arrays ``photo_id`` N, ``mu`` N×D, ``logvar`` N×D and ``model_id``.
``gallery.json`` is written last: a folder without it is no complete export.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.arrays import read_arrays
from ..core.errors import GalleryError, ImageError, OutputError
from ..core.filenames import slug
from ..core.images import read_image
from ..core.types import Floats, Image
from .enrol import add_face
from .names import printable
from .records import Embedded, Face, FaceOfPhoto, FaceReader, Person, PhotoResult
from .store import Store, encode_crop

DESCRIPTION = "gallery.json"
EMBEDDINGS = "embeddings.npz"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhotoEntry(_Record):
    """A photo; ``crop`` is a path inside the export, with forward slashes."""

    id: int
    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    width: int
    height: int
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...] = Field(min_length=5, max_length=5)
    score: float
    created_at: datetime
    crop: str


class PersonEntry(_Record):
    """A person and the photos."""

    id: int
    name: str
    created_at: datetime
    photos: tuple[PhotoEntry, ...]


class Export(_Record):
    """``gallery.json``."""

    format: Literal["facestream-gallery"] = "facestream-gallery"
    version: Literal[1] = 1
    model_id: str | None
    exported_at: datetime
    people: tuple[PersonEntry, ...]


def export(store: Store, folder: Path) -> Export:
    """See ``Gallery.export``."""
    shown = printable(str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"the folder '{shown}' is not empty; give a new or an empty one")
        snapshot = store.snapshot(columns="both")
        people = tuple(_export_person(store, person, folder) for person in store.people())
        templates, model_id = snapshot.templates, snapshot.model_id
        np.savez(
            folder / EMBEDDINGS,
            photo_id=templates.photo_ids,
            mu=templates.mu,
            logvar=templates.logvar,
            model_id=np.array(model_id or ""),
        )
        description = Export(model_id=model_id, exported_at=datetime.now(UTC), people=people)
        text = description.model_dump_json(indent=2) + "\n"
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the folder '{shown}' cannot be written: {error.strerror}; choose another"
        ) from error
    return description


def is_export(folder: Path) -> bool:
    """True when the folder was written by ``export``."""
    return (folder / DESCRIPTION).is_file()


def read_export(folder: Path) -> Export:
    """The description of an export. Raises GalleryError if it is missing or not one of ours."""
    path = folder / DESCRIPTION
    try:
        return Export.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GalleryError(
            f"'{printable(str(path))}' cannot be read: {error.strerror}; give a folder made by "
            "'facestream gallery export'"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise GalleryError(
            f"'{printable(str(path))}' is not a gallery's export: {field}: {first['msg']}"
        ) from error


def restore(store: Store, reader: FaceReader, folder: Path) -> Iterator[tuple[str, PhotoResult]]:
    """Add the people of an export; people of the same name become one.

    Embeddings of the gallery's model are copied; others are computed from the crops. See
    ``Gallery.iter_restore``.
    """
    description = read_export(folder)
    embedded = _read_embeddings(folder)
    ours = store.model_id
    for person in description.people:
        for photo in person.photos:
            path = Path(photo.path)
            try:
                face = _read_face(folder, photo)
            except ImageError as error:
                yield person.name, PhotoResult(path, False, error.reason, str(error))
                continue
            known = embedded.get(photo.id)
            if known is None or ours not in (None, known.model_id):
                mu, logvar = reader.embed(face.crop[None])
                known = Embedded(reader.model_id, mu[0], logvar[0])
            result = add_face(store, person.name, path, face, known)
            ours = known.model_id
            yield person.name, result


def _export_person(store: Store, person: Person, folder: Path) -> PersonEntry:
    # The id and a slug of the name: no name can lead out of the folder.
    inside = PurePosixPath("crops", f"{person.id:06d}-{slug(person.name, room=50)}")
    (folder / inside).mkdir(parents=True)
    photos = []
    for photo in store.photos(person.name):
        crop = inside / f"{photo.id:06d}.png"
        (folder / crop).write_bytes(encode_crop(store.crop(photo)))
        values = {name: getattr(photo, name) for name in PhotoEntry.model_fields if name != "crop"}
        arrays = {"box": photo.box.tolist(), "landmarks": photo.landmarks.tolist()}
        photos.append(PhotoEntry(**values | arrays, crop=crop.as_posix()))
    return PersonEntry(
        id=person.id, name=person.name, created_at=person.created_at, photos=tuple(photos)
    )


def _read_embeddings(folder: Path) -> dict[int, Embedded]:
    path = folder / EMBEDDINGS
    try:
        arrays = read_arrays(path)
        ids, model_id = arrays["photo_id"], str(arrays["model_id"])
        mu: Floats = arrays["mu"].astype(np.float32)
        logvar: Floats = arrays["logvar"].astype(np.float32)
        if mu.ndim != 2 or mu.shape != logvar.shape or ids.shape != mu.shape[:1]:
            raise ValueError("the arrays do not fit together")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        raise GalleryError(
            f"'{printable(str(path))}' is damaged ({error}); without it the import embeds the "
            "crops again: remove it and try again"
        ) from error
    return {int(ids[row]): Embedded(model_id, mu[row], logvar[row]) for row in range(len(ids))}


def _read_face(folder: Path, photo: PhotoEntry) -> Face:
    inside = (folder / photo.crop).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise ImageError(f"its crop '{printable(photo.crop)}' is outside the export")
    crop: Image = read_image(inside)
    if crop.shape != (112, 112, 3):
        raise ImageError(f"its crop '{printable(photo.crop)}' is not 112×112")
    values = {field.name: getattr(photo, field.name) for field in fields(FaceOfPhoto)}
    arrays = {name: np.array(values[name], np.float32) for name in ("box", "landmarks")}
    return Face(**values | arrays, crop=crop)
