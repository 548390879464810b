"""Labeled Faces in the Wild: its pairs, and its pictures through our own detector and alignment.

For evaluation only; nothing here is ever trained on.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from facestream.engines.cards import load_card
from facestream.engines.options import Serving
from facestream.pipeline.core.images import decode_small
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mode, Mtcnn
from facestream.pipeline.recognition.align import align_faces
from facestream.pipeline.recognition.encoder import Encoder
from numpy.typing import NDArray

from ..data.cache import Arrays, cached_arrays
from ..data.cutter import DETECTOR_NETS, main_faces
from ..data.degrade import degrade_randomly
from ..data.face_sets import read_member
from ..errors import DataError
from ..progress import ReportProgress, counted, silent
from .embeddings import Floats, embed_all

# Where the landmarks of LFW's faces lie on average (median over the faces found, 250×250): what
# stands in where no face is found.
MEAN_LANDMARKS: Final = np.array(
    [[104.0, 114.0], [148.0, 113.0], [126.0, 140.0], [108.0, 162.0], [146.0, 162.0]], np.float32
)
MIN_FACE: Final = 40
Half = Literal["dev", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """LFW's pairs: indices into ``names``.

    Attributes:
        names: members of the zip, each once.
        left: N indices. right: N indices.
        genuine: N, True for one person.
        fold: N, 0 to 9.
    """

    names: tuple[str, ...]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    genuine: NDArray[np.bool_]
    fold: NDArray[np.int64]

    def folds(self, count: int) -> Pairs:
        """The first folds only, with the pictures they need."""
        chosen = self.fold < count
        used = np.unique(np.concatenate([self.left[chosen], self.right[chosen]]))
        place = np.full(len(self.names), -1)
        place[used] = np.arange(len(used))
        return Pairs(
            names=tuple(self.names[i] for i in used),
            left=place[self.left[chosen]],
            right=place[self.right[chosen]],
            genuine=self.genuine[chosen],
            fold=self.fold[chosen],
        )

    def similarities(self, unit: Floats) -> Floats:
        """Cosine of each pair, N, from embeddings of ``names`` at length 1."""
        return np.asarray((unit[self.left] * unit[self.right]).sum(axis=1))


def read_pairs(path: Path) -> Pairs:
    """LFW's ``pairs.txt``.

    Raises:
        DataError: missing, or not in that format.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        folds, per_side = (int(n) for n in lines[0].split())
        index: dict[str, int] = {}
        rows = []
        for number, line in enumerate(lines[1 : 1 + folds * per_side * 2]):
            parts = line.split()
            same = len(parts) == 3
            pair = ((parts[0], parts[1]), (parts[0 if same else 2], parts[2 if same else 3]))
            left, right = (
                index.setdefault(f"{name}/{name}_{int(n):04d}.jpg", len(index)) for name, n in pair
            )
            rows.append((left, right, same, number // (2 * per_side)))
    except FileNotFoundError:
        raise DataError(f"LFW's pairs are not at {path}; give the folder with --lfw") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not LFW's pairs.txt: {error}") from error
    table = np.array(rows, np.int64)
    return Pairs(tuple(index), table[:, 0], table[:, 1], table[:, 2].astype(bool), table[:, 3])


def person_of(name: str) -> str:
    """Whose picture a member of the zip is."""
    return name.split("/", 1)[0]


def half_of(person: str) -> Half:
    """The half a person belongs to, by its name."""
    return "dev" if hashlib.sha256(person.encode()).digest()[0] % 2 else "test"


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Aligned faces of LFW's pictures.

    Attributes:
        faces: N×112×112×3 BGR uint8.
        scores: N, the detector's probability; 0 where no face was found.
        key: changes with the pictures and the detector, for caches.
    """

    faces: Image
    scores: Floats
    key: str

    @property
    def not_found(self) -> int:
        """How many pictures were cut by the average landmarks."""
        return int((self.scores == 0).sum())


def read_crops(
    folder: Path,
    names: Sequence[str],
    *,
    mode: Mode = "fast",
    cache: Path | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Crops:
    """Detect (MTCNN) and align the pictures.

    A picture in which no face is found is cut by the average landmarks of LFW's faces.

    Args:
        folder: holds ``lfw_grey.zip``.
        names: members of the zip.
        mode: the detector's.

    Raises:
        DataError: the zip or a picture is missing or damaged.
    """

    def make() -> Arrays:
        # The pictures are grey: one channel is all of them.
        crops = np.zeros((len(names), 112, 112), np.uint8)
        scores = np.zeros(len(names), np.float32)
        with (
            open_zip(folder / "lfw_grey.zip") as archive,
            Mtcnn(mode=mode, min_face=MIN_FACE, serving=Serving(threads=threads)) as detector,
        ):
            for start in range(0, len(names), 16):
                pictures = [read_picture(archive, name) for name in names[start : start + 16]]
                for i, face in enumerate(main_faces(detector, pictures), start=start):
                    landmarks = face.landmarks if len(face) else MEAN_LANDMARKS[None]
                    crops[i] = align_faces(pictures[i - start], landmarks)[0, :, :, 0]
                    scores[i] = face.scores[0] if len(face) else 0
                progress(len(pictures))
        return {"grey": crops, "scores": scores}

    key = f"{mode}_{cache_key(names)}"
    arrays = cached_arrays(None if cache is None else cache / f"lfw_{key}.npz", make)
    return Crops(np.repeat(arrays["grey"][..., None], 3, axis=3), arrays["scores"], key)


@dataclass(frozen=True, slots=True, eq=False)
class Lfw:
    """LFW's pairs, and the crops of their pictures.

    Attributes:
        folder: holds ``lfw_grey.zip``.
        cache: keeps crops and embeddings between calls, if given.
    """

    folder: Path
    pairs: Pairs
    crops: Crops
    cache: Path | None

    def embed(
        self, encoder: Encoder, *, progress: ReportProgress = silent
    ) -> tuple[Floats, Floats]:
        """mu and logvar of the pictures as they are, N×D each."""
        return self._embed(encoder, "clean", lambda: self.crops.faces, progress)

    def embed_degraded(
        self, encoder: Encoder, *, progress: ReportProgress = silent
    ) -> tuple[Floats, Floats]:
        """mu and logvar of every aligned picture degraded at random, always the same way."""

        def degraded() -> Image:
            rng = np.random.default_rng(0)
            return np.stack([degrade_randomly(face, rng)[0] for face in self.crops.faces])

        return self._embed(encoder, "degraded", degraded, progress)

    def _embed(
        self, encoder: Encoder, what: str, faces: Callable[[], Image], progress: ReportProgress
    ) -> tuple[Floats, Floats]:
        def make() -> Arrays:
            mu, logvar = embed_all(encoder, faces(), what=f"embed LFW ({what})", progress=progress)
            return {"mu": mu, "logvar": logvar}

        name = f"lfw_embed_{encoder.model_id}_{encoder.precision}_{what}_{self.crops.key}.npz"
        arrays = cached_arrays(None if self.cache is None else self.cache / name, make)
        return arrays["mu"], arrays["logvar"]


def open_lfw(
    folder: Path,
    *,
    folds: int = 10,
    mode: Mode = "fast",
    cache: Path | None = None,
    threads: int | None = None,
    progress: ReportProgress = silent,
) -> Lfw:
    """Read LFW's pairs (of the first folds) and cut its faces.

    Raises:
        DataError: ``lfw_grey.zip`` or ``pairs.txt`` is missing from the folder, or damaged.
    """
    pairs = read_pairs(folder / "pairs.txt")
    if folds < 10:
        pairs = pairs.folds(folds)
    add = counted(progress, "detect and align", len(pairs.names))
    crops = read_crops(folder, pairs.names, mode=mode, cache=cache, threads=threads, progress=add)
    return Lfw(folder, pairs, crops, cache)


def cache_key(names: Sequence[str]) -> str:
    """Changes with the pictures asked for and with the detector's networks."""
    digest = hashlib.sha256("\n".join(names).encode())
    for net in DETECTOR_NETS:
        digest.update(load_card(net).sha256.encode())
    return digest.hexdigest()[:16]


def open_zip(path: Path) -> zipfile.ZipFile:
    """LFW's zip.

    Raises:
        DataError: missing or damaged.
    """
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot open LFW's pictures {path}: {error}") from error


def read_picture(archive: zipfile.ZipFile, name: str) -> Image:
    """A member of the zip, H×W×3 BGR uint8.

    Raises:
        DataError: missing or damaged.
    """
    try:
        data = read_member(archive, name)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"LFW's zip has no readable {name}: {error}") from error
    image = decode_small(data)
    if image is None:
        raise DataError(f"LFW's {name} cannot be decoded")
    return image
