"""The faces of many pictures as arrays in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.private_files import private
from numpy.typing import NDArray

from .analysis import FaceAnalyzer, Keep
from .core.errors import ImageError, OutputError
from .core.filenames import part_of
from .core.images import DecodedPhoto
from .core.types import Faces
from .recognition.uncertainty import normalise, sigma


@dataclass(slots=True, eq=False)
class EmbeddingTable:
    """Rows of embedded faces, in the order of the pictures; about 1.2 kB of memory each.

    Attributes:
        unreadable: paths and reasons.
        damaged: what is missing of pictures that are cut short, a line each.

    Args:
        analyzer: finds and embeds the faces.
        keep: every face; or one row a picture, its largest face (NaN and score 0 where there is
            none or the picture is unreadable).
    """

    analyzer: FaceAnalyzer
    keep: Keep
    pictures: int = 0
    faces: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    _paths: list[str] = field(default_factory=list)
    _rows: list[Faces] = field(default_factory=list)

    def add(self, batch: Sequence[tuple[str, DecodedPhoto | ImageError]]) -> None:
        """Take pictures with their paths, or why they are unreadable."""
        images = [image for _, image in batch if not isinstance(image, ImageError)]
        analyses = iter(self.analyzer.analyze_batch(images, keep=self.keep))
        for path, image in batch:
            self.pictures += 1
            if isinstance(image, ImageError):
                self.unreadable.append((path, str(image)))
                faces = Faces.empty()
            else:
                faces = next(analyses).faces
                self.damaged += [image.damage] if image.damage else []
            self.faces += len(faces)
            if not len(faces):
                if self.keep == "all":
                    continue
                faces = _NO_FACE
            if faces.mu is None:
                nothing = np.full((len(faces), self.analyzer.encoder.dim), np.nan, np.float32)
                faces = faces.with_embeddings(nothing, nothing)
            self._paths += [path] * len(faces)
            self._rows.append(faces)

    def save(self, path: Path) -> None:
        """Write the rows as ``.npz``; the file appears whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        part = part_of(path)
        try:
            with open(part, "wb", opener=private) as file:
                np.savez(file, allow_pickle=False, **self.arrays())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the file by name; see ``facestream embed --help``."""
        empty = np.zeros((0, self.analyzer.encoder.dim), np.float32)
        rows = self._rows or [Faces.empty().with_embeddings(empty, empty)]
        mu = np.concatenate([faces.mu for faces in rows if faces.mu is not None])
        logvar = np.concatenate([faces.logvar for faces in rows if faces.logvar is not None])
        return {
            "path": np.array(self._paths, np.str_),
            "box": np.concatenate([faces.boxes for faces in rows]),
            "score": np.concatenate([faces.scores for faces in rows]),
            "landmarks": np.concatenate([faces.landmarks for faces in rows]),
            "embedding": np.where(np.isnan(mu), np.float32(np.nan), normalise(mu)),
            "sigma": sigma(logvar),
            "logvar": logvar,
            "unreadable": np.array([path for path, _ in self.unreadable], np.str_),
            "unreadable_reason": np.array([why for _, why in self.unreadable], np.str_),
            "model": np.array(self.analyzer.model_id),
        }


_NO_FACE = Faces(
    boxes=np.full((1, 4), np.nan, np.float32),
    scores=np.zeros(1, np.float32),
    landmarks=np.full((1, 5, 2), np.nan, np.float32),
)
