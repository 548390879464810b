"""A gallery moved to another model: every kept crop is embedded again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .reader import FaceReader
from .store import Store

BATCH = 32


def re_embed(store: Store, reader: FaceReader) -> Iterator[tuple[int, int]]:
    """Embed all photos with the reader's model, then use that model and drop the others.

    The embeddings in use stay until the last moment: cut off, the gallery is as before, and a
    second try continues where the first one ended.

    Yields:
        How many are done, and of how many.

    Raises:
        GalleryCorrupt: a crop cannot be read.
        GalleryError: the gallery cannot be written.
    """
    model_id = reader.model_id
    while True:
        missing = store.without_embedding(model_id)
        for start in range(0, len(missing), BATCH):
            ids = missing[start : start + BATCH]
            mu, logvar = reader.embed(np.stack([store.crop(photo) for photo in ids]))
            store.keep_embeddings(ids, mu, logvar, model_id=model_id)
            yield start + len(ids), len(missing)
        # Another process may have added photos meanwhile: then once more.
        if store.switch_model(model_id):
            return
