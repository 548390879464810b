"""Training faces: zips of aligned pictures, each with a csv list of what may be used.

The csv is the authority: members of a zip that it does not name (some are too close to a person
of an evaluation set) are never read. Pictures are 128×128, the 112×112 template with 8 px around
it, so that small shifts of the alignment can be drawn without inventing pixels.
"""

from __future__ import annotations

import csv
import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from facestream.engines.closing import Closing
from facestream.pipeline.core.images import decode_small
from facestream.pipeline.core.picture_limits import picture_limits
from numpy.typing import NDArray

from ..errors import DataError

UNLABELLED: Final = "x"
# Outside the tight crops of UTKFace the border pixel is repeated.
STREAKED_SETS: Final = frozenset({"utkface"})
MARGIN: Final = 8
SIDE: Final = 112 + 2 * MARGIN


@dataclass(frozen=True, slots=True)
class FaceRow:
    """One training picture.

    Attributes:
        dataset: stem of its zip and csv.
        member: name inside the zip, ``<identity or x>/<stem>.webp``.
        face_px: width of the face in the source picture, pixels.
        eval_cosine: SFace cosine to the nearest person of the evaluation sets.
    """

    dataset: str
    member: str
    face_px: float
    eval_cosine: float

    @property
    def identity(self) -> str | None:
        """The person's label, None where the set has none."""
        label = self.member.split("/", 1)[0]
        return None if label == UNLABELLED else label


def read_list(path: Path) -> list[FaceRow]:
    """The rows of one csv.

    Raises:
        DataError: the file is missing or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                FaceRow(
                    dataset=path.stem,
                    member=row["member"],
                    face_px=float(row["face_px"]),
                    eval_cosine=float(row["eval_cosine"]),
                )
                for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise DataError(f"cannot read the list {path}: {error.strerror}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is not a list of training faces ({error}); "
            "its columns are member, score, face_px, eval_cosine"
        ) from error


def read_folder(folder: Path, *, datasets: Sequence[str] = ()) -> list[FaceRow]:
    """All rows of the csv lists in a folder that have a zip beside them, sorted by set and member.

    Raises:
        DataError: nothing usable there, or a set that was asked for is missing.
    """
    names = list(datasets) or sorted(
        p.stem for p in folder.glob("*.csv") if p.with_suffix(".zip").is_file()
    )
    rows: list[FaceRow] = []
    for name in names:
        if not (folder / f"{name}.zip").is_file():
            raise DataError(f"{folder / f'{name}.zip'} is missing; see the data set's README")
        rows += sorted(read_list(folder / f"{name}.csv"), key=lambda r: r.member)
    if not rows:
        raise DataError(f"no training faces in {folder}: it needs <set>.zip with <set>.csv")
    return rows


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A picture in a zip.

    Raises:
        KeyError: there is none of that name.
        zipfile.BadZipFile: it is damaged, or larger than pictures are read.
    """
    size = archive.getinfo(name).file_size  # no more than it declares is ever read
    if size > picture_limits().size:
        raise zipfile.BadZipFile(f"it has {size} bytes, more than pictures are read up to")
    return archive.read(name)


class FaceZips(Closing):
    """Reads pictures of rows; opens each zip on first use, in the process that uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._zips: dict[str, zipfile.ZipFile] = {}

    def read(self, row: FaceRow) -> NDArray[np.uint8]:
        """The picture, H×W×3 RGB uint8.

        Raises:
            DataError: the zip is missing or damaged, lacks the member, or it cannot be decoded.
        """
        archive = self._zips.get(row.dataset) or self.open(row.dataset)
        try:
            data = read_member(archive, row.member)
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{row.dataset}.zip: cannot read {row.member}: {error}") from error
        image = decode_small(data)
        if image is None:
            raise DataError(f"{row.dataset}.zip: {row.member} is not a picture")
        return np.ascontiguousarray(image[:, :, ::-1], dtype=np.uint8)

    def open(self, dataset: str) -> zipfile.ZipFile:
        """The zip of a set, open.

        Raises:
            DataError: it is missing or damaged.
        """
        path = self._folder / f"{dataset}.zip"
        try:
            self._zips[dataset] = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot open {path}: {error}; fetch or make the set again") from error
        return self._zips[dataset]

    def close(self) -> None:
        """Close the zips."""
        for archive in self._zips.values():
            archive.close()
        self._zips.clear()

    def __getstate__(self) -> dict[str, object]:
        # An open zip shares its file offset: a worker process opens its own.
        return {"_folder": self._folder, "_zips": {}}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def centre_crop(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 112×112 template inside a 128×128 picture."""
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN]


def read_chunks(
    folder: Path,
    rows: Sequence[FaceRow],
    *,
    size: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[list[NDArray[np.uint8]]]:
    """Pictures (RGB) of rows, ``size`` at a time; the next ones are decoded meanwhile.

    ``progress`` is called with the number of pictures that the caller is done with.
    """
    with FaceZips(folder) as zips, ThreadPoolExecutor(1) as pool:

        def read(start: int) -> list[NDArray[np.uint8]]:
            return [zips.read(row) for row in rows[start : start + size]]

        ahead = pool.submit(read, 0)
        for start in range(0, len(rows), size):
            pictures = ahead.result()
            ahead = pool.submit(read, start + size)
            yield pictures
            progress(len(pictures))


def split_identities(
    rows: Sequence[FaceRow], *, percent: int = 4, seed: int = 0
) -> tuple[list[FaceRow], list[FaceRow]]:
    """Training rows and held-out rows; a person is never on both sides.

    Whether a person (or an unlabelled picture) is held out depends on its name and the seed only,
    so that adding a set never moves anybody.
    """
    train: list[FaceRow] = []
    held: list[FaceRow] = []
    for row in rows:
        key = row.identity or f"{row.dataset}/{row.member}"
        digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
        (held if digest[0] * 256 + digest[1] < percent * 65536 // 100 else train).append(row)
    return train, held


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A set in a manifest."""

    name: str
    pictures: int
    identities: int
    csv_sha256: str
    zip_sha256: str


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_manifest(folder: Path, rows: Iterable[FaceRow]) -> list[DatasetEntry]:
    """One entry for each set that the rows come from, with checksums of its files."""
    by_set: dict[str, list[FaceRow]] = {}
    for row in rows:
        by_set.setdefault(row.dataset, []).append(row)
    return [
        DatasetEntry(
            name=name,
            pictures=len(members),
            identities=len({r.identity for r in members if r.identity is not None}),
            csv_sha256=sha256_of(folder / f"{name}.csv"),
            zip_sha256=sha256_of(folder / f"{name}.zip"),
        )
        for name, members in sorted(by_set.items())
    ]


def write_manifest(path: Path, entries: Sequence[DatasetEntry]) -> None:
    """The manifest as JSON."""
    path.write_text(json.dumps([asdict(e) for e in entries], indent=2) + "\n", encoding="utf-8")
