"""Faces that stay out of a training set: near duplicates, and people of an evaluation set."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.images import decode_image
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import normalise
from numpy.typing import NDArray

from ..errors import DataError
from ..progress import ReportProgress
from .cache import Arrays, cached_arrays
from .cutter import Cutter
from .face_sets import UNLABELLED, centre_crop, sha256_of
from .set_sources import Still, StillReader, find_sources

log = logging.getLogger(__name__)
Floats = NDArray[np.float32]
# Unlabelled pictures are compared with this many before them: some minutes of video.
WINDOW: Final = 4096


class NearDuplicates:
    """Finds pictures that show the same as one that was kept.

    A labelled picture is compared with its person's, which come in a row; an unlabelled one with
    the latest unlabelled ones.

    Args:
        cosine: similarity from which two pictures are the same.
    """

    def __init__(self, cosine: float) -> None:
        self._cosine = cosine
        self._label = ""
        self._named: list[Floats] = []
        self._unnamed = np.zeros((0, 0), np.float32)
        self._count = 0

    def nearest(self, label: str, unit: Floats) -> float:
        """Highest similarity to a picture that was kept; the picture is kept if that is low.

        Args:
            label: its person.
            unit: D, of length 1.
        """
        if label == UNLABELLED:
            return self._nearest_unnamed(unit)
        if label != self._label:
            self._label, self._named = label, []
        highest = max((float(kept @ unit) for kept in self._named), default=-1.0)
        if highest < self._cosine:
            self._named.append(unit)
        return highest

    def _nearest_unnamed(self, unit: Floats) -> float:
        if not self._unnamed.size:
            self._unnamed = np.zeros((WINDOW, len(unit)), np.float32)
        known = min(self._count, WINDOW)
        highest = float((self._unnamed[:known] @ unit).max()) if known else -1.0
        if highest < self._cosine:
            self._unnamed[self._count % WINDOW] = unit
            self._count += 1
        return highest


class EvaluationPeople:
    """The people of an evaluation set, by the mean direction of each one's pictures.

    Attributes:
        means: P×D, of length 1.
        pictures: how many had a face. faceless: how many had none or could not be read.
    """

    def __init__(self, means: Floats, *, pictures: int, faceless: int) -> None:
        self.means = means
        self.pictures = pictures
        self.faceless = faceless

    def nearest(self, units: Floats) -> Floats:
        """Cosine of each embedding (N×D, of length 1) to the nearest person, N."""
        return np.asarray((units @ self.means.T).max(axis=1), np.float32)


def evaluation_people(
    path: Path, cutter: Cutter, encoder: Encoder, *, cache: Path, progress: ReportProgress
) -> EvaluationPeople:
    """Detect and embed an evaluation set, ``person/picture.jpg`` in a folder or zip.

    Where no folders name people the file names do, ``person_01.jpg``. What was found in a zip is
    kept in ``cache``.

    Raises:
        DataError: there is nothing to compare with.
    """
    stills = find_sources([path], label="folder").stills
    stills = stills or find_sources([path], label="prefix").stills
    if not stills:
        raise DataError(f"no pictures of people to exclude in {path}: it needs person/picture.jpg")

    def make() -> Arrays:
        labels, units, done = [], [], 0
        with StillReader() as reader:
            for start in range(0, len(stills), 16):
                chunk = stills[start : start + 16]
                crops, owners = _crops(chunk, reader, cutter)
                if owners:
                    units.append(normalise(encoder.embed(np.stack(crops))[0]))
                    labels += owners
                done += len(chunk)
                progress("evaluation set", done, len(stills))
        if not units:
            raise DataError(f"no face was found in the pictures to exclude in {path}")
        counts = {"pictures": np.array(len(labels)), "faceless": np.array(done - len(labels))}
        return {"means": _means(labels, np.concatenate(units)), **counts}

    arrays = cached_arrays(_cache_file(path, encoder, cutter, cache), make)
    return EvaluationPeople(
        arrays["means"], pictures=int(arrays["pictures"]), faceless=int(arrays["faceless"])
    )


def _crops(
    stills: Sequence[Still], reader: StillReader, cutter: Cutter
) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Crops and labels of those stills that can be read and show a face."""
    images, owners = [], []
    for still in stills:
        try:
            images.append(decode_image(reader.read(still), name=still.name))
        except (ImageError, DataError) as error:
            log.warning("%s", error)
            continue
        owners.append(still.label)
    found = cutter.cut(images, which="main")
    pairs = [(f.cuts[0], owner) for f, owner in zip(found, owners, strict=True) if f.cuts]
    return [centre_crop(cut.picture) for cut, _ in pairs], [owner for _, owner in pairs]


def _means(labels: Sequence[str], units: Floats) -> Floats:
    names, person = np.unique(labels, return_inverse=True)
    means = np.zeros((len(names), units.shape[1]), np.float32)
    np.add.at(means, person, units)
    return normalise(means)


def _cache_file(path: Path, encoder: Encoder, cutter: Cutter, cache: Path) -> Path | None:
    """A name that changes with the zip and the models; None for a folder."""
    if not path.is_file():
        return None
    key = "\n".join([sha256_of(path), encoder.model_id, *cutter.settings])
    return cache / f"exclude_{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
