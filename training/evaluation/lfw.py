"""Labeled Faces in the Wild: its pairs, and its pictures through our own detector and alignment.

For evaluation only; nothing here is ever trained on.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from facestream.engines.cards import load_card
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn.detector import Mode, Mtcnn
from facestream.pipeline.recognition.align import align_faces
from numpy.typing import NDArray

from ..errors import DataError

# Where the landmarks of LFW's faces lie on average (median over the faces found, 250×250): what
# stands in where no face is found.
MEAN_LANDMARKS: Final = np.array(
    [[104.0, 114.0], [148.0, 113.0], [126.0, 140.0], [108.0, 162.0], [146.0, 162.0]], np.float32
)
MIN_FACE: Final = 40


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
            if len(parts) == 3:
                pair = ((parts[0], int(parts[1])), (parts[0], int(parts[2])))
            else:
                pair = ((parts[0], int(parts[1])), (parts[2], int(parts[3])))
            left, right = (
                index.setdefault(f"{name}/{name}_{n:04d}.jpg", len(index)) for name, n in pair
            )
            rows.append((left, right, len(parts) == 3, number // (2 * per_side)))
    except FileNotFoundError:
        raise DataError(f"LFW's pairs are not at {path}; give the folder with --lfw") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not LFW's pairs.txt: {error}") from error
    table = np.array(rows, np.int64)
    return Pairs(
        names=tuple(index),
        left=table[:, 0],
        right=table[:, 1],
        genuine=table[:, 2].astype(bool),
        fold=table[:, 3],
    )


def choose_face(faces: Faces, *, width: int, height: int) -> int:
    """The face that a picture is about: large and near the centre.

    The area less twice the squared distance to the centre, as facenet's evaluation does it.
    """
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    offset = centres - np.array([width / 2, height / 2], np.float32)
    return int(np.argmax(sides.prod(axis=1) - 2.0 * (offset**2).sum(axis=1)))


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Aligned faces of LFW's pictures.

    Attributes:
        faces: N×112×112×3 BGR uint8.
        scores: N, the detector's probability; 0 where no face was found.
        not_found: how many pictures had to be cut by the average landmarks.
    """

    faces: Image
    scores: NDArray[np.float32]
    not_found: int


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
        cache: folder that keeps the crops between calls.
        threads: CPU threads.
        progress: called with the number of pictures just done.

    Raises:
        DataError: the zip or a picture is missing or damaged.
    """
    file = None
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        file = cache / f"lfw_{mode}_{cache_key(names)}.npz"
        if file.is_file():
            with np.load(file) as saved:
                return _crops(np.repeat(saved["grey"][..., None], 3, axis=3), saved["scores"])
    crops = np.zeros((len(names), 112, 112, 3), np.uint8)
    scores = np.zeros(len(names), np.float32)
    with (
        open_zip(folder / "lfw_grey.zip") as archive,
        Mtcnn(mode=mode, min_face=MIN_FACE, serving=Serving(threads=threads)) as detector,
    ):
        for start in range(0, len(names), 16):
            pictures = [read_picture(archive, name) for name in names[start : start + 16]]
            for i, (picture, faces) in enumerate(
                zip(pictures, detector.detect_batch(pictures), strict=True), start=start
            ):
                landmarks = MEAN_LANDMARKS
                if len(faces):
                    height, width = picture.shape[:2]
                    best = choose_face(faces, width=width, height=height)
                    landmarks, scores[i] = faces.landmarks[best], faces.scores[best]
                crops[i] = align_faces(picture, landmarks[None])[0]
            progress(len(pictures))
    if file is not None:
        partial = file.with_name(f".{file.name}")
        with partial.open("wb") as out:
            # The pictures are grey: one channel is all of them.
            np.savez(out, grey=crops[..., 0], scores=scores)
        partial.replace(file)
    return _crops(crops, scores)


def _crops(faces: Image, scores: NDArray[np.float32]) -> Crops:
    return Crops(faces=faces, scores=scores, not_found=int((scores == 0).sum()))


def cache_key(names: Sequence[str]) -> str:
    """Changes with the pictures asked for and with the detector's networks."""
    digest = hashlib.sha256("\n".join(names).encode())
    for net in ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"):
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
        data = archive.read(name)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"LFW's zip has no readable {name}: {error}") from error
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"LFW's {name} cannot be decoded")
    return np.asarray(image, np.uint8)
