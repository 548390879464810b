"""What an approximate index built over a gallery's file, kept in another file beside it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import numpy as np
from facestream.engines.errors import IndexFileError
from facestream.engines.index import LayeredIndex
from facestream.engines.index.approximate import HnswCore, IvfPqCore
from facestream.engines.index.rowfile import RowFile, read_rows
from facestream.engines.index.structures import (
    StructureKind,
    forget,
    load_structure,
    save_structure,
    structure_count,
)
from numpy.typing import NDArray

from ..core.errors import GalleryError
from ..core.types import Floats
from .names import printable
from .store import Store

log = logging.getLogger(__name__)

Ids = NDArray[np.int64]

# Vectors that may have come since, as a share: they are searched exactly beside the structure.
_NEWER = 0.125


class KeptStructure:
    """See ``engines.index.choice.StructureStore``.

    Args:
        store: of the gallery.
        rows: its file, whose vectors are adopted.
    """

    def __init__(self, store: Store, rows: RowFile) -> None:
        self._store = store
        self._rows = rows

    def adopt(
        self, index: LayeredIndex, ids: Ids, vectors: Floats, dead: NDArray[np.bool_] | None
    ) -> None:
        """Give the vectors to an empty index; its structure is read, or built and kept."""
        kind = cast(StructureKind, index.kind)
        path = self._store.cache.structure(kind)
        count = structure_count(path, kind=kind, tag=self._rows.uid) or 0
        core: HnswCore | IvfPqCore | None = None
        if count <= len(ids) <= (1 + _NEWER) * count:
            try:
                core = load_structure(path, kind=kind, vectors=vectors[:count])
            except IndexFileError as error:
                log.warning("'%s' is built anew: %s", printable(str(path)), error)
        if core is None:
            count = len(ids)
            log.warning(
                "an index of kind '%s' is built over %d photos: once, it takes minutes", kind, count
            )
            core = HnswCore(vectors) if kind == "hnsw" else IvfPqCore(vectors)
            self._keep(core, path, count)
        gone = np.zeros(len(ids), np.bool_) if dead is None else dead
        index.adopt(ids[:count], vectors[:count], dead=gone[:count], core=core)
        later = np.flatnonzero(~gone[count:]) + count
        index.add(ids[later], vectors[later])

    def _keep(self, core: HnswCore | IvfPqCore, path: Path, count: int) -> None:
        """Write it, without those who were removed while it was built."""
        try:
            with self._store.locked():
                # The file's labels now: read anew, for the file may be another by now.
                now = read_rows(self._rows.path, checked="header")
                if now.uid != self._rows.uid:
                    return
                if isinstance(core, IvfPqCore):
                    forget(core.structure, np.flatnonzero(now.labels[:count] == 0))
                save_structure(core, path, tag=now.uid, count=count)
                self._store.cache.share(path)
        except (OSError, GalleryError, IndexFileError) as error:
            log.info("'%s' is not kept: %s", printable(str(path)), error)
