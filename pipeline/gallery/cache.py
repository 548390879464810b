"""A file beside a large gallery that it is searched from, memory-mapped.

Reading a million embeddings from SQLite takes seconds when the file is in memory and minutes when
it is not, because the photos lie between them. So galleries of ``CACHED`` photos or more have a
copy of their normalised embeddings in ``GALLERY.templates``: biometric data like the gallery
itself, for the eyes of those who may read the gallery, and never more than a copy: it may be
deleted at any time.

It says of which state of the gallery it is a copy. A copy that is behind is brought up to date by
the gallery's log of changes; one that is damaged, cut off in a change, of another gallery or of
another model is overwritten and made anew. Who is removed from the gallery is overwritten here
before the removal is committed, so the copy never has anybody whom the gallery has not.

What an approximate index built over the file (minutes of work for a million photos) is kept in
``GALLERY.templates.ivfpq`` or ``….hnsw``, under the same rules.

All changes of these files are made by who holds the gallery's write lock.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.errors import IndexFileError
from facestream.engines.index.rowfile import RowFile, read_rows, write_rows
from facestream.engines.index.structures import StructureKind, erase_structure
from numpy.typing import NDArray

from ..core.errors import GalleryError
from ..core.types import Floats
from .changes import Head
from .database import HEADER
from .names import printable

log = logging.getLogger(__name__)

SUFFIX = ".templates"
# Photos from which the file is kept: fewer are read from SQLite in 0.2 s.
CACHED = 50_000
# Room for additions: a share of the photos, so that the file is seldom made anew.
_ROOM = 0.05
_ZEROS = bytes(2**20)
# Of which there may be a file.
KINDS: tuple[StructureKind, ...] = ("hnsw", "ivfpq")

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tag:
    """Of what a file is a copy.

    Attributes:
        head: the state of the gallery that was copied.
        model_id: of the embeddings.
        erased: the latest removal that was carried out on the file since; the file is the state
            ``head`` without those who were removed up to then. None when there was none.
    """

    head: Head
    model_id: str
    erased: Head | None = None

    def packed(self) -> str:
        """As text, for the file."""
        erased = None if self.erased is None else _pair(self.erased)
        return json.dumps([_pair(self.head), self.model_id, erased])

    @classmethod
    def unpacked(cls, text: str) -> Tag:
        """From the file.

        Raises:
            IndexFileError: it is no tag; empty after a change that was cut off.
        """
        try:
            head, model_id, erased = json.loads(text)
            return cls(Head(*head), model_id, None if erased is None else Head(*erased))
        except (ValueError, TypeError) as error:
            raise IndexFileError("its last change was cut off") from error


class TemplateCache:
    """The file beside one gallery. For one thread at a time.

    Attributes:
        path: of the file, which need not exist.

    Args:
        gallery: path of the gallery.
    """

    def __init__(self, gallery: Path) -> None:
        self._gallery = gallery
        self.path = gallery.with_name(gallery.name + SUFFIX)

    def read(self) -> tuple[RowFile, Tag] | None:
        """The file, checked, or None where there is none that can be used."""
        try:
            rows = read_rows(self.path)
            return rows, Tag.unpacked(rows.tag)
        except FileNotFoundError:
            return None
        except IndexFileError as error:
            log.warning("'%s' is made anew: %s", printable(str(self.path)), error)
            return None

    def erase(
        self, photo_ids: Ids, *, before: Head, after: Head, happened: Callable[[Head], bool]
    ) -> None:
        """Overwrite these photos' rows, in the transaction that removes them from the gallery.

        Args:
            photo_ids: of one person.
            before: the state of the gallery without the removal.
            after: with it. Should the transaction fail, no such state exists and the file is
                known to be wrong.
            happened: tells whether a state is in the gallery's log.

        Raises:
            GalleryError: it can be neither overwritten nor deleted.
        """
        self._drop_parts()
        try:
            rows = read_rows(self.path, checked="header")
            tag = Tag.unpacked(rows.tag)
            if tag.erased is not None and not happened(tag.erased):
                raise IndexFileError("it is too far behind")
            then = Tag(after, tag.model_id)
            if tag.head != before:
                then = Tag(tag.head, tag.model_id, after)
            at = np.flatnonzero(np.isin(rows.ids, photo_ids))
            rows.erase(photo_ids, tag=then.packed())
            self._erase_structures(at)
        except FileNotFoundError:
            return
        except (IndexFileError, OSError) as error:
            log.info("'%s' is dropped: %s", printable(str(self.path)), error)
            self.drop()

    def share(self, path: Path) -> None:
        """Let those read and write a file who may read and write the gallery, nobody else.

        Raises:
            OSError: that is not possible.
        """
        whose = self._gallery.stat()
        mode = whose.st_mode & 0o666
        if path.stat().st_gid != whose.st_gid:
            try:
                os.chown(path, -1, whose.st_gid)
            except PermissionError:
                mode &= 0o600  # the group is another one
        path.chmod(mode)

    def structure(self, kind: StructureKind) -> Path:
        """Where what an index of this kind built over the file is kept."""
        return self.path.with_name(f"{self.path.name}.{kind}")

    def _erase_structures(self, positions: Ids) -> None:
        for kind in KINDS:
            try:
                erase_structure(self.structure(kind), positions)
            except FileNotFoundError:
                continue
            except (IndexFileError, OSError):
                self._shred(self.structure(kind))

    def append(
        self, rows: RowFile, photo_ids: Ids, person_ids: Ids, unit: Floats, *, tag: Tag
    ) -> bool:
        """Add rows in place; False when there is no room. See ``write`` for the arguments.

        Raises:
            IndexFileError: another process changed the file, or it is damaged.
            OSError: it cannot be written.
        """
        return rows.append(photo_ids, person_ids, unit, tag=tag.packed())

    def prepare(self, photo_ids: Ids, person_ids: Ids, unit: Floats, *, tag: Tag) -> Path:
        """Write a new file under another name; ``publish`` puts it in place.

        Args:
            photo_ids: N.
            person_ids: N; negative where the embedding has no direction and matches nobody.
            unit: N×D, of length 1.
            tag: of what they are a copy.

        Raises:
            OSError: it cannot be written.
        """
        # A name that is its own: several processes may do this at once.
        part = self.path.with_name(f"{self.path.name}.{secrets.token_hex(6)}.part")
        if _is_database(self.path):
            raise FileExistsError(errno.EEXIST, "another gallery has that name")
        try:
            room = max(1000, int(_ROOM * len(photo_ids)))
            write_rows(part, photo_ids, person_ids, unit, tag=tag.packed(), room=room)
            self.share(part)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return part

    def publish(self, part: Path, keep: Ids | None) -> None:
        """Put a prepared file in place.

        Args:
            part: from ``prepare``.
            keep: photos that are the gallery's; all others are overwritten in the old file, which
                other processes may still be searching. None: all are.

        Raises:
            OSError: it cannot be put there.
            GalleryError: what is replaced cannot be overwritten.
        """
        try:
            old = read_rows(self.path, checked="header")
            gone = old.ids if keep is None else np.setdiff1d(old.ids, keep)
            if len(gone):
                old.erase(gone, tag="")
        except FileNotFoundError:
            pass
        except IndexFileError:
            self._shred(self.path)
        part.replace(self.path)
        # Rows are elsewhere now.
        for kind in KINDS:
            self._shred(self.structure(kind))
        self._drop_parts()

    def drop(self) -> None:
        """Overwrite the file and delete it.

        Raises:
            GalleryError: that is not possible.
        """
        self._shred(self.path)
        for kind in KINDS:
            self._shred(self.structure(kind))
        self._drop_parts()

    def _drop_parts(self) -> None:
        """What a process left that died, or is about to give up because of this change."""
        # Not glob: the gallery's name may have brackets.
        for place in self.path.parent.iterdir():
            if place.name.startswith(self.path.name + ".") and place.name.endswith(".part"):
                self._shred(place)

    def _shred(self, path: Path) -> None:
        try:
            shred(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise GalleryError(
                f"'{printable(str(path))}' holds copies of the gallery's embeddings and "
                f"cannot be overwritten ({error.strerror}); change its permissions or delete it"
            ) from error


def shred(path: Path) -> None:
    """Overwrite a file with zeros and delete it; a gallery that has this name is left alone.

    Raises:
        OSError: that is not possible.
    """
    if _is_database(path):
        return
    with path.open("rb+") as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            left -= file.write(_ZEROS[: min(left, len(_ZEROS))])
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def _is_database(path: Path) -> bool:
    """True for a gallery, which may have any name."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEADER)) == HEADER
    except OSError:
        return False


def _pair(head: Head) -> list[Any]:
    return [head.generation, head.stamp]
