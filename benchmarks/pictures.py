"""Pictures to measure with: the demo's portraits before photographed textures, or video frames.

Rendered from the pictures that scikit-image ships. Never blank: the cost of a detector depends on
what it sees.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from facestream.pipeline.core.errors import UsageError
from facestream.pipeline.core.images import read_image
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces
from numpy.typing import NDArray

SIZES = {"480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
CROWD = 24

# MTCNN finds no face in them at any size (the tests check it).
_TEXTURES = ("coffee.png", "brick.png", "grass.png", "gravel.png")


@dataclass(frozen=True, slots=True)
class _Head:
    """A head cut out of its portrait with room around it; ``face`` is its box's height."""

    image: Image
    face: float


@functools.cache
def _heads() -> tuple[_Head, _Head]:
    """Both people; the boxes' heights are what MTCNN finds in the 512×512 originals."""
    astronaut, camera = (read_image(_folder() / f"{name}.png") for name in ("astronaut", "camera"))
    return _Head(astronaut[20:220, 125:325], 111.0), _Head(camera[76:236, 146:306], 80.0)


@functools.cache
def _textures() -> list[Image]:
    return [read_image(_folder() / name) for name in _TEXTURES]


def _folder() -> Path:
    # Found without importing it: only the pictures are of interest.
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise UsageError(
            "the pictures come with scikit-image: pip install 'facestream[bench]', or give a video"
        )
    return Path(spec.origin).parent / "data"


def render(size: tuple[int, int], faces: int, *, count: int, seed: int = 7) -> Image:
    """Pictures with the given number of faces, each picture different.

    Faces are a ninth of the height or more and differ in place, size, rotation and light; the two
    people alternate.

    Args:
        size: width and height.
        faces: in each picture.
        count: how many pictures.
        seed: the same seed gives the same pictures.

    Returns:
        count×H×W×3 BGR uint8.

    Raises:
        UsageError: scikit-image is not installed.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_scene(size, faces, rng) for _ in range(count)])


def _scene(size: tuple[int, int], faces: int, rng: np.random.Generator) -> Image:
    width, height = size
    picture = _wall(size, rng)
    columns = max(1, math.ceil(math.sqrt(faces * width / height)))
    rows = max(1, math.ceil(faces / columns))
    cell_w, cell_h = width / columns, height / rows
    # A head's picture is about twice its face; four fifths of a cell leave room to move.
    largest = min(0.4 * min(cell_w, cell_h), 0.33 * height)
    for number in range(faces):
        face = rng.uniform(0.75, 1.0) * largest
        head = _heads()[number % 2]
        patch = _varied(head, face, rng)
        row, column = divmod(number, columns)
        left = column * cell_w + rng.uniform(0, max(1.0, cell_w - patch.shape[1]))
        top = row * cell_h + rng.uniform(0, max(1.0, cell_h - patch.shape[0]))
        _paste(picture, patch, int(left), int(top))
    noise = rng.normal(0, 3, (height, width, 1)).round().astype(np.int16).repeat(3, axis=2)
    return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)


def _wall(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Three textures side by side, in an order, a cut and a light of their own."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    edges = [0, width // 3, 2 * width // 3, width]
    chosen = rng.permutation(len(_TEXTURES))[:3]
    for start, end, which in zip(edges[:3], edges[1:], chosen, strict=True):
        texture = _textures()[which]
        scale = max(height / texture.shape[0], (end - start) / texture.shape[1])
        large = cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        large = cv2.convertScaleAbs(large, alpha=float(rng.uniform(0.7, 1.1)))
        large = cv2.resize(large, (max(large.shape[1], end - start), max(large.shape[0], height)))
        left = int(rng.integers(0, large.shape[1] - (end - start) + 1))
        picture[:, start:end] = large[:height, left : left + end - start]
    return picture


def _varied(head: _Head, face: float, rng: np.random.Generator) -> Image:
    """A head with a face of this height, turned a little, mirrored or not, in another light."""
    side = max(16, round(head.image.shape[0] * face / head.face))
    how = cv2.INTER_AREA if side < head.image.shape[0] else cv2.INTER_LINEAR
    image = cv2.resize(head.image, (side, side), interpolation=how)
    if rng.random() < 0.5:
        image = cv2.flip(image, 1)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-8, 8)), 1.0)
    image = cv2.warpAffine(image, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    light = float(rng.uniform(0.8, 1.15))
    return np.asarray(cv2.convertScaleAbs(image, alpha=light), np.uint8)


def _paste(picture: Image, patch: Image, left: int, top: int) -> None:
    """Blend a head into the picture with a soft round edge."""
    room = picture[top : top + patch.shape[0], left : left + patch.shape[1]]
    patch = patch[: room.shape[0], : room.shape[1]]
    height, width = patch.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1.0 - np.sqrt(x**2 + y**2)) * 8, 0, 1).astype(np.float32)[..., None]
    room[:] = (alpha * patch + (1 - alpha) * room).round().astype(np.uint8)


def crops(count: int, *, seed: int = 11) -> Image:
    """Aligned faces of both people, each in another light, turn and size.

    Returns:
        count×112×112×3 BGR uint8, found by the detector in rendered pictures.
    """
    found: list[Image] = []
    with Mtcnn(mode="exact") as detector:
        while sum(map(len, found)) < count:
            (picture,) = render(SIZES["720p"], CROWD, count=1, seed=seed + len(found))
            found.append(align_faces(picture, detector.detect(picture).landmarks))
    return np.concatenate(found)[:count]


def frames(video: Path, *, height: int, count: int) -> Image:
    """Frames of a video, evenly spread over its first 200, resized to this height.

    Returns:
        count×H×W×3 BGR uint8.

    Raises:
        ValueError: the video has no frame.
    """
    kept: list[Image] = list(islice(_decoded(video), 200))
    if not kept:
        raise ValueError(f"{video} has no frame")
    chosen = np.linspace(0, len(kept) - 1, count).round().astype(int)
    width = round(kept[0].shape[1] * height / kept[0].shape[0] / 2) * 2
    how = cv2.INTER_AREA if height < kept[0].shape[0] else cv2.INTER_LINEAR
    sized = [cv2.resize(kept[i], (width, height), interpolation=how) for i in chosen]
    return np.asarray(np.stack(sized), np.uint8)


def _decoded(video: Path) -> Iterator[Image]:
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


def write_clip(path: Path, faces: int, *, size: str = "720p", seconds: float = 4.0) -> None:
    """Render an H.264 clip at 25 frames/s with the given number of faces on every frame.

    The camera drifts over a slightly larger picture, so that faces move.
    """
    width, height = SIZES[size]
    (scene,) = render((width, height), faces, count=1, seed=23)
    scene = cv2.copyMakeBorder(scene, 16, 16, 16, 16, cv2.BORDER_REFLECT)
    grain = _grain(height, width)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, 25)
        for number in range(max(2, round(25 * seconds))):
            left = round(16 + 15 * math.sin(number / 9))
            top = round(16 + 15 * math.cos(number / 13))
            view = scene[top : top + height, left : left + width]
            shifted = np.roll(grain, (number * 37 % height, number * 101 % width), (0, 1))
            picture = np.asarray(cv2.add(view, shifted, dtype=cv2.CV_8U), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _grain(height: int, width: int) -> NDArray[np.int16]:
    noise = np.random.default_rng(7).normal(0, 4, (height, width, 1)).round().astype(np.int16)
    return np.repeat(noise, 3, axis=2)
