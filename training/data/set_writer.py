"""Writes a training set: the zip, its list, what was skipped, and the manifest, all or nothing."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import DataError
from .face_sets import sha256_of
from .set_sources import Skip

COLUMNS = ("member", "score", "face_px", "eval_cosine")


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of the set.

    Attributes:
        member: name in the zip.
        content: the encoded picture.
        score: the detector's probability.
        face_px: width of the face in its source.
        eval_cosine: to the nearest person of the evaluation set; not a number if none was given.
    """

    member: str
    content: bytes
    score: float
    face_px: float
    eval_cosine: float


class SetWriter:
    """Writes ``<name>.zip``, ``.csv``, ``.skipped.csv`` and ``.json`` in a folder.

    Everything goes to hidden partial files first; ``commit`` puts them in their places. Leaving
    the ``with`` block without it removes them, and what was there before stays.

    Raises:
        DataError: the set exists and may not be replaced, or the disk refuses.
    """

    def __init__(self, folder: Path, name: str, *, replace: bool) -> None:
        self._final = {
            kind: folder / f"{name}.{kind}" for kind in ("zip", "skipped.csv", "json", "csv")
        }
        existing = [path.name for path in self._final.values() if path.exists()]
        if existing and not replace:
            raise DataError(
                f"{folder / existing[0]} exists; give another --name, or --force to replace it"
            )
        self._partial = {
            kind: path.with_name(f".{path.name}.partial") for kind, path in self._final.items()
        }
        self._rows: list[Entry] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._zip = zipfile.ZipFile(self._partial["zip"], "w")
        except OSError as error:
            raise self._refused(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._zip.close()
        except OSError as cause:
            # A full disk refuses the directory at the zip's end, too; the zip goes away anyhow.
            if error is None:
                raise self._refused(cause) from cause
        finally:
            for path in self._partial.values():
                path.unlink(missing_ok=True)

    def add(self, entry: Entry) -> None:
        """Put a picture into the zip. Stored, and without a time: the same input, the same zip."""
        try:
            self._zip.writestr(zipfile.ZipInfo(entry.member), entry.content)
        except OSError as error:
            raise self._refused(error) from error
        self._rows.append(Entry(entry.member, b"", entry.score, entry.face_px, entry.eval_cosine))

    def commit(self, manifest: Mapping[str, Any], skipped: Sequence[Skip]) -> dict[str, Any]:
        """Finish the files and put them in their places.

        Returns:
            The manifest with checksums, as it was written.
        """
        try:
            self._zip.close()
            _write_csv(
                self._partial["csv"],
                COLUMNS,
                [
                    (row.member, f"{row.score:.3f}", f"{row.face_px:.1f}", f"{row.eval_cosine:.3f}")
                    for row in self._rows
                ],
            )
            _write_csv(
                self._partial["skipped.csv"],
                ("name", "reason", "detail"),
                [(skip.name, skip.reason, skip.detail) for skip in skipped],
            )
            full = dict(manifest) | {
                "zip_sha256": sha256_of(self._partial["zip"]),
                "csv_sha256": sha256_of(self._partial["csv"]),
            }
            self._partial["json"].write_text(
                json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            # The list comes last and an old one goes first: a zip counts only with its list.
            self._final["csv"].unlink(missing_ok=True)
            for kind, path in self._final.items():
                self._partial[kind].replace(path)
        except OSError as error:
            raise self._refused(error) from error
        return full

    def _refused(self, error: OSError) -> DataError:
        return DataError(
            f"cannot write {self._final['zip']}: {error.strerror or error}; nothing was kept of it"
        )


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
