"""Export of a gallery to a folder of plain files, and import of such a folder.

``gallery.json`` describes people and photos, ``crops/`` holds the aligned faces as PNG and
``embeddings.npz`` the arrays ``photo_id`` N, ``mu`` N×D, ``logvar`` N×D and ``model_id``.
``gallery.json`` is written last: a folder without it is no complete export.

An export may come from anybody. An embedding that is not of its crop would give a person's name to
somebody else, so the import computes the embeddings from the crops, and takes those of the file
only where the user says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from facestream.engines.files import make_folder
from facestream.engines.private_files import private, read_bounded, tighten
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from ..core.errors import GalleryError, ImageError, OutputError
from ..core.filenames import slug
from ..core.types import Floats
from ..storage.names import normalise_name, printable
from .crops import MOST_BYTES, decode_crop, encode_crop
from .embeddings import read_embeddings
from .enrol import CHUNK, DEFAULT_RULES, EnrolmentRules, add_face
from .records import (
    NO_NOTES,
    Embedded,
    Face,
    FaceOfPhoto,
    FaceReader,
    Person,
    PhotoNotes,
    PhotoResult,
)
from .store import Store

DESCRIPTION = "gallery.json"
EMBEDDINGS = "embeddings.npz"
MOST_PHOTOS = 1_000_000
# 500 bytes for each photo.
MOST_DESCRIPTION = 500 * 2**20

Trust = Literal["nothing", "embeddings"]
"""What of an export is believed: its embeddings, or only its crops and names."""

Number = Annotated[int, Field(ge=0, lt=2**63)]
Pixels = Annotated[int, Field(ge=1, le=2**31)]
Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]
Point = tuple[Coordinate, Coordinate]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PhotoEntry(_Record):
    """A photo; ``crop`` is a path inside the export, with forward slashes."""

    id: Number
    path: str = Field(max_length=4096)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    width: Pixels
    height: Pixels
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate]
    landmarks: tuple[Point, ...] = Field(min_length=5, max_length=5)
    score: float = Field(ge=0, le=1.001)
    created_at: datetime
    crop: str = Field(max_length=1024)
    notes: PhotoNotes | None = None

    @model_serializer(mode="wrap")
    def _plain(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Older versions refuse fields that they do not know: notes only where there are any."""
        content: dict[str, Any] = write(self)
        if self.notes is None:
            del content["notes"]
        return content


class PersonEntry(_Record):
    """A person and the photos."""

    id: Number
    name: str = Field(max_length=1024)
    created_at: datetime
    photos: tuple[PhotoEntry, ...]


class Export(_Record):
    """``gallery.json``."""

    format: Literal["facestream-gallery"] = "facestream-gallery"
    version: Literal[1] = 1
    model_id: str | None = Field(max_length=256)
    exported_at: datetime
    people: tuple[PersonEntry, ...]


def export(store: Store, folder: Path) -> Export:
    """See ``Gallery.export``."""
    shown = printable(str(folder))
    try:
        make_folder(folder)
        if any(folder.iterdir()):
            raise OutputError(f"the folder '{shown}' is not empty; give a new or an empty one")
        tighten(folder)
        snapshot = store.snapshot(columns="both", aside=True)
        people = tuple(_export_person(store, person, folder) for person in store.people())
        templates, model_id = snapshot.templates, snapshot.model_id
        with open(folder / EMBEDDINGS, "xb", opener=private) as file:
            np.savez(
                file,
                allow_pickle=False,
                photo_id=templates.photo_ids,
                mu=templates.mu,
                logvar=templates.logvar,
                model_id=np.array(model_id or ""),
            )
        description = Export(model_id=model_id, exported_at=datetime.now(UTC), people=people)
        text = description.model_dump_json(indent=1) + "\n"
        _write(folder / DESCRIPTION, text.encode())
    except OSError as error:
        raise OutputError(
            f"the folder '{shown}' cannot be written: {error.strerror}; choose another"
        ) from error
    return description


def is_export(folder: Path) -> bool:
    """True when the folder was written by ``export``."""
    return (folder / DESCRIPTION).is_file()


def read_export(folder: Path) -> Export:
    """The description of an export.

    Raises GalleryError if it is missing, too large, or not one of ours.
    """
    path = folder / DESCRIPTION
    try:
        found = Export.model_validate_json(read_bounded(path, MOST_DESCRIPTION))
    except OSError as error:
        raise GalleryError(
            f"'{printable(str(path))}' cannot be read: {error.strerror}; give a folder made by "
            "'facestream gallery export'"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise GalleryError(
            f"'{printable(str(path))}' is not a gallery's export: {printable(field)}: "
            f"{printable(first['msg'])}"
        ) from error
    photos = sum(len(person.photos) for person in found.people)
    if photos > MOST_PHOTOS or len(found.people) > MOST_PHOTOS:
        raise GalleryError(
            f"'{printable(str(path))}' has {photos:,} photos of {len(found.people):,} people; an "
            f"export has at most {MOST_PHOTOS:,}: copy the gallery's file instead"
        )
    return found


def restore(
    store: Store,
    reader: FaceReader,
    folder: Path,
    *,
    trust: Trust = "nothing",
    rules: EnrolmentRules = DEFAULT_RULES,
) -> Iterator[tuple[str, PhotoResult]]:
    """Add the people of an export; people of the same name become one.

    See ``Gallery.iter_restore``.
    """
    description = read_export(folder)
    store.require_model(reader.model_id)
    count = sum(len(person.photos) for person in description.people)
    known = read_embeddings(folder / EMBEDDINGS, count) if trust == "embeddings" else {}
    photos = ((person.name, photo) for person in description.people for photo in person.photos)
    judged = ""
    while chunk := list(islice(photos, CHUNK)):
        examined = [
            (name, photo, _examine(store, reader, folder, name, photo, known, trust))
            for name, photo in chunk
        ]
        new = [one for *_, one in examined if isinstance(one, Face)]
        vectors: Iterator[tuple[Floats, Floats]] = iter(())
        if new and trust == "nothing":
            vectors = zip(*reader.embed(np.stack([face.crop for face in new])), strict=True)
        for name, photo, one in examined:
            if isinstance(one, Face):
                embedded = known.get(photo.id) or Embedded(reader.model_id, *next(vectors))
                if rules.guard is not None and name != judged:
                    judged = name
                    rules.guard.begin(normalise_name(name))
                yield name, add_face(store, name, Path(photo.path), one, embedded, rules)
            else:
                yield name, one


def _examine(
    store: Store,
    reader: FaceReader,
    folder: Path,
    name: str,
    photo: PhotoEntry,
    known: Mapping[int, Embedded],
    trust: Trust,
) -> Face | PhotoResult:
    """The face of a row, or why it is not taken."""
    path = Path(photo.path)
    try:
        normalise_name(name)
        owner = store.owner(photo.sha256)
        if owner is not None:
            return PhotoResult.already_enrolled(path, name, owner=owner)
        if trust == "embeddings":
            _check_trusted(store, reader, photo, known.get(photo.id))
        return _read_face(folder, photo)
    except ImageError as error:
        return PhotoResult(path, False, error.reason, str(error))
    except GalleryError as error:
        return PhotoResult(path, False, "unreadable", str(error))


def _check_trusted(
    store: Store, reader: FaceReader, photo: PhotoEntry, embedded: Embedded | None
) -> None:
    """Raises GalleryError if the embedding of a row cannot be one of the reader's."""
    hint = "import without --trust-embeddings"
    if embedded is None:
        raise GalleryError(f"the export has no embedding of photo {photo.id}; {hint}")
    if embedded.model_id != reader.model_id:
        raise GalleryError(
            f"the embedding of photo {photo.id} is of the model "
            f"'{printable(embedded.model_id[:60])}', and '{reader.model_id}' is in use; {hint}"
        )
    store.check_embedding(embedded)


def _export_person(store: Store, person: Person, folder: Path) -> PersonEntry:
    # The id and a slug of the name: no name can lead out of the folder.
    inside = PurePosixPath("crops", f"{person.id:06d}-{slug(person.name, room=50)}")
    make_folder(folder / inside)
    photos = []
    for photo in store.photos(person.name):
        crop = inside / f"{photo.id:06d}.png"
        _write(folder / crop, encode_crop(store.crop(photo)))
        values = {name: getattr(photo, name) for name in PhotoEntry.model_fields if name != "crop"}
        values["notes"] = None if photo.notes.empty else photo.notes
        arrays = {"box": photo.box.tolist(), "landmarks": photo.landmarks.tolist()}
        photos.append(PhotoEntry(**values | arrays, crop=crop.as_posix()))
    return PersonEntry(
        id=person.id, name=person.name, created_at=person.created_at, photos=tuple(photos)
    )


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=private) as file:
        file.write(content)


def _read_face(folder: Path, photo: PhotoEntry) -> Face:
    shown = printable(photo.crop)
    try:
        inside = (folder / photo.crop).resolve()
        if not inside.is_relative_to(folder.resolve()):
            raise ImageError(f"its crop '{shown}' is outside the export")
        content = read_bounded(inside, MOST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"its crop '{shown}' cannot be read: {reason}") from error
    crop = decode_crop(content, name=f"its crop '{shown}'")
    values = {field.name: getattr(photo, field.name) for field in fields(FaceOfPhoto)}
    arrays = {name: np.array(values[name], np.float32) for name in ("box", "landmarks")}
    return Face(**values | arrays, crop=crop, notes=photo.notes or NO_NOTES)
