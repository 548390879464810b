"""A gallery's index, from the file beside it where there is one, else from the gallery itself."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from facestream.engines.errors import IndexFileError
from facestream.engines.index.rowfile import RowFile

from ..core.errors import GalleryError
from ..core.types import Floats
from . import cache, changes
from .cache import Tag
from .changes import Head
from .index import (
    Ids,
    Searching,
    TemplateIndex,
    normalised,
)
from .names import printable
from .store import Store
from .structures import KeptStructure
from .templates import Delta, Templates

log = logging.getLogger(__name__)


def load_index(store: Store, searching: Searching) -> tuple[TemplateIndex, Head]:
    """The index of a gallery as it is now, and of which state that is.

    Raises:
        GalleryError: the gallery cannot be read.
        BackendUnavailable: what is to search cannot serve here.
    """
    index = _from_cache(store, searching)
    if index is None:
        index = _from_gallery(store, searching)
    return index, index.head


def _from_cache(store: Store, searching: Searching) -> TemplateIndex | None:
    """From the file, brought up to date; None when there is none that belongs to the gallery."""
    found = store.cache.read()
    if found is None:
        return None
    rows, tag = found
    if tag.erased is not None and not store.happened(tag.erased):
        return None
    ids, labels = rows.ids, rows.labels
    names = store.names()  # before the changes: who is removed in between is in neither
    delta = store.delta(
        since=tag.head, after=int(ids.max(initial=-1)), model_id=tag.model_id or None
    )
    if delta is None:
        log.info("'%s' is too far behind: it is made anew", printable(str(store.cache.path)))
        return None
    kept = Templates(
        head=tag.head,
        model_id=tag.model_id or None,
        names=names,
        photo_ids=ids,
        person_ids=labels,
        mu=np.zeros((0, rows.dim), np.float32),
    )
    index = TemplateIndex(
        kept, searching=searching, unit=rows.vectors, kept=KeptStructure(store, rows)
    )
    if not index.update(delta):
        return None
    _catch_up(store, rows, tag, delta)
    return index


def _from_gallery(store: Store, searching: Searching) -> TemplateIndex:
    """From the gallery; a large one gets its file."""
    templates = store.templates()
    if len(templates.photo_ids) < cache.CACHED or templates.model_id is None:
        _forget(store)
        return TemplateIndex(templates, searching=searching)
    if not templates.head.stamp:
        head = _stamp(store)
        if head is not None and head.generation == templates.head.generation:
            templates = replace(templates, head=head)
    unit, usable = normalised(templates.mu)
    person_ids = np.where(usable, templates.person_ids, -templates.person_ids)
    rows = _kept(store, templates, person_ids, unit)
    if rows is not None:
        unit = rows.vectors  # of the file: the memory of those that were read is given back
    kept = None if rows is None else KeptStructure(store, rows)
    slim = replace(templates, person_ids=person_ids, mu=templates.mu[:0])
    return TemplateIndex(slim, searching=searching, unit=unit, kept=kept)


def _kept(store: Store, templates: Templates, person_ids: Ids, unit: Floats) -> RowFile | None:
    """Write the file; None when that is not possible just now: the gallery is searched anyway."""
    head, model_id = templates.head, templates.model_id
    if not head.stamp or model_id is None:
        return None
    part: Path | None = None
    try:
        part = store.cache.prepare(templates.photo_ids, person_ids, unit, tag=Tag(head, model_id))
        with store.locked() as session:
            if changes.head(session) != head:
                return None  # somebody may have been removed
            store.cache.publish(part, templates.photo_ids)
    except (OSError, GalleryError, IndexFileError) as error:
        _tell(store, error)
        return None
    finally:
        if part is not None and part.exists():
            cache.shred(part)
    found = store.cache.read()
    return None if found is None or len(found[0]) != len(unit) else found[0]


def _catch_up(store: Store, rows: RowFile, tag: Tag, delta: Delta) -> None:
    """Bring the file up to date as well, so that the next start has less to do."""
    new, model_id = delta.added, tag.model_id
    if new.head == tag.head:
        return
    unit, usable = normalised(new.mu)
    person_ids = np.where(usable, new.person_ids, -new.person_ids)
    gone = rows.ids[np.isin(np.abs(rows.labels), np.array(sorted(delta.removed), np.int64))]
    try:
        with store.locked() as session:
            if changes.head(session) != new.head:
                return
            now = Tag(new.head, model_id)
            if len(gone):
                rows.erase(gone, tag="")
            if store.cache.append(rows, new.photo_ids, person_ids, unit, tag=now):
                return
            live = rows.labels != 0
            part = store.cache.prepare(
                np.concatenate([rows.ids[live], new.photo_ids]),
                np.concatenate([rows.labels[live], person_ids]),
                np.concatenate([rows.vectors[live], unit]),
                tag=now,
            )
            store.cache.publish(part, np.concatenate([rows.ids[live], new.photo_ids]))
    except (OSError, GalleryError, IndexFileError) as error:
        _tell(store, error)


def _stamp(store: Store) -> Head | None:
    """Give the state of a gallery that was written without a log a stamp, if that is possible."""
    try:
        with store.locked() as session:
            head = changes.head(session)
            return head if head.stamp else changes.stamp(session)
    except GalleryError as error:
        _tell(store, error)
        return None


def _forget(store: Store) -> None:
    """A gallery that became small needs no file."""
    if not store.cache.path.exists():
        return
    try:
        with store.locked():
            store.cache.drop()
    except GalleryError as error:
        _tell(store, error)


def _tell(store: Store, error: Exception) -> None:
    log.info("'%s' is not brought up to date: %s", printable(str(store.cache.path)), error)
