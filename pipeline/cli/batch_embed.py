"""Faces of many pictures: found, aligned and embedded in batches, kept in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ImageError, OutputError
from ..core.types import Faces, Floats, Image
from ..detection.mtcnn.detector import Mtcnn
from ..recognition.align import align_faces
from ..recognition.encoder import Encoder
from ..recognition.uncertainty import normalise, sigma
from .pictures import Read

Keep = Literal["all", "largest"]


@dataclass(slots=True, eq=False)
class Harvest:
    """Gathers rows; about 1.2 kB of memory a face.

    Args:
        detector: finds faces.
        encoder: embeds them.
        keep: every face, or a row for each picture with its largest face (NaN and score 0
            where there is none or the picture is unreadable).
        embed_at: faces gathered, across pictures, before the encoder runs.
    """

    detector: Mtcnn
    encoder: Encoder
    keep: Keep
    embed_at: int = 64
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
        detected = iter(self.detector.detect_batch(images))
        for path, image in batch:
            self.pictures += 1
            if isinstance(image, ImageError):
                self.unreadable.append((path, str(image)))
                faces = Faces.empty()
            else:
                faces = next(detected)
                if self.keep == "largest":
                    faces = _largest(faces)
                if len(faces):
                    self._take(image, faces)
            self._append(path, faces)
        if len(self._crop_rows) >= self.embed_at:
            self._embed()

    def save(self, path: Path) -> None:
        """Write the rows as ``.npz``; the file appears whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        self._embed()
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **self.arrays())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the file by name; see ``facestream embed --help``."""
        rows, dim = len(self._paths), self.encoder.dim
        mu = np.full((rows, dim), np.nan, np.float32)
        logvar = np.full((rows, dim), np.nan, np.float32)
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
            "model": np.array(self.encoder.model_id),
        }

    def _take(self, image: Image, faces: Faces) -> None:
        first = len(self._paths)
        self._crops.append(align_faces(image, faces.landmarks))
        self._crop_rows += range(first, first + len(faces))
        self.faces += len(faces)

    def _append(self, path: str, faces: Faces) -> None:
        if self.keep == "largest" and not len(faces):
            faces = _NO_FACE
        self._paths += [path] * len(faces)
        self._found.append(faces)

    def _embed(self) -> None:
        if self._crop_rows:
            mu, logvar = self.encoder.embed(np.concatenate(self._crops))
            self._embedded.append((self._crop_rows, mu, logvar))
            self._crops, self._crop_rows = [], []


_NO_FACE = Faces(
    boxes=np.full((1, 4), np.nan, np.float32),
    scores=np.zeros(1, np.float32),
    landmarks=np.full((1, 5, 2), np.nan, np.float32),
)


def _largest(faces: Faces) -> Faces:
    if len(faces) < 2:
        return faces
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    return faces.take([int(np.argmax(sides.prod(axis=1)))])
