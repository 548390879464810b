"""``facestream embed``: the faces of many pictures as arrays."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..analysis import Models, load_models
from ..core.config import load_settings
from ..core.errors import ImageError, OutputError, SourceError
from ..core.filenames import part_of
from ..core.picture_files import Read, in_batches, list_pictures, nothing_readable, read_ahead
from ..core.types import Faces, Floats, Image
from ..recognition.align import align_faces
from ..recognition.uncertainty import normalise, sigma
from ..sinks.files import check_writable
from .console import plural, say, warn
from .errors import BAD_INPUT, INTERRUPTED
from .progress import show_count
from .run import what_runs
from .signals import stopping_on_signals

log = logging.getLogger(__name__)

NAMED = 20
"""Unreadable pictures that are named on the terminal."""
EMBED_AT = 64
"""Faces gathered, across pictures, before the encoder runs."""
NO_FACE = Faces(
    boxes=np.full((1, 4), np.nan, np.float32),
    scores=np.zeros(1, np.float32),
    landmarks=np.full((1, 5, 2), np.nan, np.float32),
)


def embed_paths(
    paths: Sequence[str],
    *,
    out: Path,
    keep: Literal["all", "largest"],
    config: Path | None,
    flags: Mapping[str, Any],
) -> int:
    """Embed the faces of pictures into an ``.npz`` file; returns the exit status.

    Interrupted, it writes what it has.

    Raises:
        UsageError: nothing to read, the file cannot be written, a setting is wrong.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    check_writable(out)
    files = list_pictures(paths)
    began = time.monotonic()
    with load_models(settings) as models:
        running = what_runs(models, settings)
        rows = FaceRows(models, keep)
        stopped = Event()
        with (
            stopping_on_signals(stopped.set),
            show_count("pictures", len(files)) as show,
            closing(read_ahead(files)) as pictures,
        ):
            for batch in in_batches(pictures):
                rows.add(batch)
                rate = rows.pictures / max(time.monotonic() - began, 1e-6)
                show(rows.pictures, f"· {plural(rows.faces, 'face')} · {rate:.0f}/s")
                if stopped.is_set():
                    break
        if len(rows.unreadable) == len(files):
            raise SourceError(nothing_readable([why for _, why in rows.unreadable]))
        rows.save(out)
    log.info("%s", running)
    _summarise(rows, out, total=len(files), seconds=time.monotonic() - began)
    if stopped.is_set() and rows.pictures < len(files):
        return INTERRUPTED
    return BAD_INPUT if rows.unreadable else 0


def _summarise(rows: FaceRows, out: Path, *, total: int, seconds: float) -> None:
    for _, why in rows.unreadable[:NAMED]:
        warn(why)
    if len(rows.unreadable) > NAMED:
        warn(f"and {len(rows.unreadable) - NAMED} more; all are in the array 'unreadable'")
    left = "" if rows.pictures == total else f"Interrupted: {total - rows.pictures} left out. "
    say(
        f"{left}{plural(rows.faces, 'face')} of {plural(rows.pictures, 'picture')} in {out} · "
        f"{len(rows.unreadable)} unreadable · {seconds:.1f} s, "
        f"{rows.pictures / seconds:.1f} pictures/s"
    )


@dataclass(slots=True, eq=False)
class FaceRows:
    """Faces of many pictures, a row each; about 1.2 kB of memory a face.

    Args:
        models: detector and encoder.
        keep: every face, or a row for each picture with its largest face (NaN and score 0
            where there is none or the picture is unreadable).
    """

    models: Models
    keep: Literal["all", "largest"]
    pictures: int = 0
    faces: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    _paths: list[str] = field(default_factory=list)
    _found: list[Faces] = field(default_factory=list)
    _crops: list[Image] = field(default_factory=list)
    _crop_rows: list[int] = field(default_factory=list)
    _embedded: list[tuple[list[int], Floats, Floats]] = field(default_factory=list)

    def add(self, batch: Sequence[Read]) -> None:
        """Take some pictures, or the reasons why they cannot be read."""
        images = [image for _, image in batch if not isinstance(image, ImageError)]
        detected = iter(self.models.detector.detect_batch(images))
        for path, image in batch:
            self.pictures += 1
            faces = Faces.empty()
            if isinstance(image, ImageError):
                self.unreadable.append((path, str(image)))
            else:
                faces = next(detected)
                if self.keep == "largest" and len(faces) > 1:
                    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
                    faces = faces.take([int(np.argmax(sides.prod(axis=1)))])
                if len(faces):
                    self._take(image, faces)
            if self.keep == "largest" and not len(faces):
                faces = NO_FACE
            self._paths += [path] * len(faces)
            self._found.append(faces)
        if len(self._crop_rows) >= EMBED_AT:
            self._embed()

    def save(self, path: Path) -> None:
        """Write the rows as ``.npz``; the file is there whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        self._embed()
        part = part_of(path)
        try:
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **self.arrays())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the file by name; see ``facestream embed --help``."""
        encoder, rows = self.models.encoder, len(self._paths)
        mu = np.full((rows, encoder.dim), np.nan, np.float32)
        logvar = np.full((rows, encoder.dim), np.nan, np.float32)
        for where, some_mu, some_logvar in self._embedded:
            mu[where], logvar[where] = normalise(some_mu), some_logvar
        found = self._found or [Faces.empty()]
        return {
            "path": np.array(self._paths, np.str_),
            "box": np.concatenate([faces.boxes for faces in found]),
            "score": np.concatenate([faces.scores for faces in found]),
            "landmarks": np.concatenate([faces.landmarks for faces in found]),
            "embedding": mu,
            "sigma": sigma(logvar),
            "logvar": logvar,
            "unreadable": np.array([path for path, _ in self.unreadable], np.str_),
            "unreadable_reason": np.array([why for _, why in self.unreadable], np.str_),
            "model": np.array(encoder.model_id),
        }

    def _take(self, image: Image, faces: Faces) -> None:
        first = len(self._paths)
        self._crops.append(align_faces(image, faces.landmarks))
        self._crop_rows += range(first, first + len(faces))
        self.faces += len(faces)

    def _embed(self) -> None:
        if self._crop_rows:
            mu, logvar = self.models.encoder.embed(np.concatenate(self._crops))
            self._embedded.append((self._crop_rows, mu, logvar))
            self._crops, self._crop_rows = [], []
