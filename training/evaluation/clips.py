"""Short moving clips made from one picture of a face, as a surveillance camera would see it.

For evaluation: the face wanders, sways, comes nearer or goes, turns away and back; some frames
are smeared by motion, out of focus, or half hidden; the light drifts, the sensor is noisy, and
the whole goes through H.264. All of it is drawn from one generator, so that a clip can be made
again from its seed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import av
import cv2
import numpy as np
from facestream.pipeline.core.types import Floats, Image
from numpy.typing import NDArray

from .lfw import MEAN_LANDMARKS

Array = NDArray[np.float64]

# Part of the key of what is kept: raise it when the same draw gives other pictures.
VERSION: Final = 2
# Where the head lies in a picture of LFW (250×250): its axis and half its width, in pixels.
HEAD_CENTRE: Final = MEAN_LANDMARKS.mean(axis=0)
HEAD_RADIUS: Final = 62.0
EYE_DISTANCE: Final = float(np.linalg.norm(MEAN_LANDMARKS[1] - MEAN_LANDMARKS[0]))
# The face's box about its centre, in eye distances: left, top, right, bottom.
_BOX: Final = np.array([-1.1, -1.3, 1.1, 1.35])
# The picture's border melts into the background over this many pixels of 250.
_FEATHER: Final = 14


@dataclass(frozen=True, slots=True)
class ClipRules:
    """Settings of clips; ranges are drawn from once a clip.

    Attributes:
        frames: how many.
        fps: frames a second.
        width, height: of a frame in pixels, even.
        eyes: distance between the eyes in the first frame, in pixels.
        growth: the largest factor between the sizes at both ends.
        yaw: how far the head turns about its axis at the most, in degrees.
        defocus: standard deviation of the blur at its worst, in eye distances.
        smear: length of the motion blur at its worst, in eye distances.
        hidden: share of clips in which something passes before the face.
        noise: the sensor's standard deviation in grey levels.
        crf: H.264's constant rate factor.
    """

    frames: int = 12
    fps: int = 10
    width: int = 224
    height: int = 192
    eyes: tuple[float, float] = (18.0, 38.0)
    growth: float = 1.5
    yaw: tuple[float, float] = (3.0, 35.0)
    defocus: tuple[float, float] = (0.01, 0.12)
    smear: tuple[float, float] = (0.02, 0.5)
    hidden: float = 0.35
    noise: tuple[float, float] = (1.5, 8.0)
    crf: tuple[int, int] = (20, 31)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A clip and the truth about it.

    Attributes:
        frames: N×H×W×3 BGR uint8.
        boxes: N×4, where the face is.
        times: N, seconds since the first frame.
    """

    frames: Image
    boxes: Floats
    times: Array


def render_clip(picture: Image, rng: np.random.Generator, *, rules: ClipRules) -> Clip:
    """A clip of the person in a picture.

    Args:
        picture: 250×250×3 uint8, aligned as LFW's are.

    Raises:
        ValueError: the picture is not of that shape.
    """
    if picture.shape != (250, 250, 3) or picture.dtype != np.uint8:
        raise ValueError(
            f"picture must be 250×250×3 uint8, not {picture.shape} {picture.dtype}: clips are "
            "made of LFW's pictures"
        )
    path = _draw_path(rng, rules)
    scene = _Scene(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8), path, rules)
    light = _Light(rng, rules)
    bar = _Bar(rng, rules)
    frames = [light.apply(bar.cover(scene.frame(i), path, i), i, rng) for i in range(rules.frames)]
    seen = through_h264(
        np.stack(frames), fps=rules.fps, crf=int(rng.integers(rules.crf[0], rules.crf[1] + 1))
    )
    boxes = path.centre.repeat(2, axis=0).reshape(-1, 4) + path.eyes[:, None] * _BOX
    return Clip(
        frames=np.repeat(seen[..., None], 3, axis=3),
        boxes=boxes.astype(np.float32),
        times=np.arange(rules.frames) / rules.fps,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """The face's way through N frames: N×2 centre (px), and N each of eye distance (px), roll and
    yaw (radians), defocus and smear (px), and the smear's direction (degrees)."""

    centre: Array
    eyes: Array
    roll: Array
    yaw: Array
    defocus: Array
    smear: Array
    heading: Array


def _wave(rng: np.random.Generator, count: int) -> Array:
    """A smooth random course within −1..1: a slow and a quicker sine."""
    t = np.linspace(0, 1, count)
    slow, quick = rng.uniform(0.3, 1.0), rng.uniform(1.0, 2.5)
    phase = rng.uniform(0, 2 * np.pi, 2)
    wave: Array = 0.7 * np.sin(2 * np.pi * slow * t + phase[0]) + 0.3 * np.sin(
        2 * np.pi * quick * t + phase[1]
    )
    return wave


def _burst(rng: np.random.Generator, count: int, *, chance: float) -> Array:
    """0..1 over the frames: a bump of a few frames, or (else) nothing."""
    if rng.random() >= chance:
        return np.zeros(count)
    middle, width = rng.uniform(0, count - 1), rng.uniform(1.0, count / 4)
    bump: Array = np.exp(-0.5 * ((np.arange(count) - middle) / width) ** 2)
    return bump


def _draw_path(rng: np.random.Generator, rules: ClipRules) -> _Path:
    n = rules.frames
    first = float(np.exp(rng.uniform(*np.log(rules.eyes))))
    last = first * rules.growth ** rng.uniform(-1, 1)
    eyes = np.geomspace(first, last, n)
    # The whole face stays within the frame.
    room = np.array([rules.width, rules.height]) / 2 - 1.5 * eyes.max()
    course = np.stack([_wave(rng, n), _wave(rng, n)], axis=1)
    centre = np.array([rules.width, rules.height]) / 2 + course * room.clip(2) * rng.uniform(0.2, 1)
    speed = np.gradient(centre, axis=0)
    shake = rng.normal(0, 1, 2) * _burst(rng, n, chance=0.5)[:, None]
    shake *= rng.uniform(*rules.smear) * float(eyes.mean())
    exposure = rng.uniform(0.1, 0.6)
    moved = speed * exposure + shake
    defocus = rng.uniform(rules.defocus[0], rules.defocus[1] / 2) + (rules.defocus[1] / 2) * _burst(
        rng, n, chance=0.4
    )
    turn = np.radians(rng.uniform(*rules.yaw))
    return _Path(
        centre=centre,
        eyes=eyes,
        roll=np.radians(rng.normal(0, 4) + rng.uniform(1, 10) * _wave(rng, n)),
        yaw=np.clip(np.radians(rng.normal(0, 8)) + turn * _wave(rng, n), -0.9, 0.9),
        defocus=defocus * eyes,
        smear=np.linalg.norm(moved, axis=1),
        heading=np.degrees(np.arctan2(moved[:, 1], moved[:, 0])),
    )


class _Scene:
    """The head before its background, seen along a path."""

    def __init__(self, grey: Image, path: _Path, rules: ClipRules) -> None:
        self._path = path
        self._size = (rules.width, rules.height)
        # Bilinear sampling reads 2×2 pixels: the picture is first averaged down to about the
        # size at which it will be seen.
        self._scale = min(1.0, 1.3 * float(path.eyes.max()) / EYE_DISTANCE)
        side = round(250 * self._scale)
        self._head = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
        mask = np.zeros((250, 250), np.uint8)
        mask[_FEATHER:-_FEATHER, _FEATHER:-_FEATHER] = 255
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), _FEATHER / 2), np.uint8)
        self._mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
        small = cv2.resize(grey, (50, 50), interpolation=cv2.INTER_AREA)
        self._back = cv2.resize(cv2.GaussianBlur(small, (0, 0), 5), self._size)
        x, y = np.meshgrid(np.arange(rules.width), np.arange(rules.height))
        self._grid = np.stack([x, y], axis=-1).astype(np.float32)

    def frame(self, index: int) -> Image:
        """H×W uint8, sharp but for focus and motion."""
        path = self._path
        x, y = self._source(index)
        head, mask = (
            cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            for part in (self._head, self._mask)
        )
        share = mask.astype(np.float32) / 255
        frame = np.asarray(head * share + self._back * (1 - share), np.float32)
        if path.defocus[index] > 0.2:
            blurred = cv2.GaussianBlur(frame, (0, 0), float(path.defocus[index]))
            frame = np.asarray(blurred, np.float32)
        frame = _smear(frame, float(path.smear[index]), float(path.heading[index]))
        return np.clip(frame, 0, 255).astype(np.uint8)

    def _source(self, index: int) -> tuple[Floats, Floats]:
        """x and y, H×W each: which pixel of the (shrunk) head each pixel of the frame shows."""
        path = self._path
        zoom = EYE_DISTANCE / path.eyes[index]
        cosine, sine = np.cos(path.roll[index]) * zoom, np.sin(path.roll[index]) * zoom
        offset = self._grid - path.centre[index].astype(np.float32)
        turned = offset @ np.array([[cosine, -sine], [sine, cosine]], np.float32)
        # The head is taken for an upright cylinder: a point at angle a of it is seen at
        # sin(a + yaw). Beyond its outline the picture stays as it is.
        across = turned[..., 0] / HEAD_RADIUS
        angle = np.arcsin(np.clip(across, -1, 1)) - np.float32(path.yaw[index])
        rolled = np.sin(np.clip(angle, -np.pi / 2, np.pi / 2))
        turned[..., 0] = HEAD_RADIUS * np.where(np.abs(across) < 1, rolled, across)
        where = (turned + HEAD_CENTRE.astype(np.float32)) * np.float32(self._scale)
        return np.ascontiguousarray(where[..., 0]), np.ascontiguousarray(where[..., 1])


def _smear(frame: NDArray[np.float32], length: float, heading: float) -> NDArray[np.float32]:
    """Blur along a line of that length (px) and direction (degrees)."""
    if length < 1:
        return frame
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    half = np.array([np.cos(np.radians(heading)), np.sin(np.radians(heading))]) * length / 2
    for t in np.linspace(-1, 1, 4 * side):
        x, y = np.rint(side // 2 + t * half).astype(int)
        kernel[y, x] += 1
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum()), np.float32)


class _Bar:
    """Something that passes before the face in part of the clips."""

    def __init__(self, rng: np.random.Generator, rules: ClipRules) -> None:
        self._there = rng.random() < rules.hidden
        self._grey = int(rng.integers(20, 236))
        self._width = float(rng.uniform(0.6, 1.6))
        self._low = rng.random() < 0.4
        start, speed = rng.uniform(-4, 0), rng.uniform(0.25, 1.0) * rng.choice((-1, 1))
        self._across = (start + abs(speed) * np.arange(rules.frames)) * np.sign(speed)

    def cover(self, frame: Image, path: _Path, index: int) -> Image:
        """The frame with the bar, where it is just then (in eye distances from the face)."""
        if not self._there:
            return frame
        eyes, (x, y) = path.eyes[index], path.centre[index]
        left = int(x + self._across[index] * eyes)
        right = int(left + self._width * eyes)
        # Low: a hand or scarf before mouth and chin. Else a post, from top to bottom.
        top = int(y + 0.15 * eyes) if self._low else 0
        frame = frame.copy()
        cv2.rectangle(frame, (left, top), (right, frame.shape[0]), self._grey, -1)
        return frame


class _Light:
    """Exposure, its drift, contrast and the sensor's noise."""

    def __init__(self, rng: np.random.Generator, rules: ClipRules) -> None:
        n = rules.frames
        self._gamma = np.exp(rng.normal(0, 0.3) + rng.uniform(0, 0.4) * _wave(rng, n))
        self._contrast = rng.uniform(0.6, 1.0)
        self._level = rng.uniform(90, 150)
        self._noise = float(rng.uniform(*rules.noise))

    def apply(self, frame: Image, index: int, rng: np.random.Generator) -> Image:
        """The frame as the camera records it."""
        table = 255.0 * (np.arange(256) / 255.0) ** self._gamma[index]
        table = self._level + (table - 127.5) * self._contrast
        noise = np.float32(self._noise) * rng.standard_normal(frame.shape, np.float32)
        seen = table.astype(np.float32)[frame] + noise
        return np.asarray(np.clip(seen, 0, 255), np.uint8)


def through_h264(frames: Image, *, fps: int, crf: int) -> Image:
    """Encode and decode grey frames.

    Args:
        frames: N×H×W uint8, H and W even.
        fps: frames a second.
        crf: constant rate factor, 0 (lossless) to 51.

    Returns:
        N×H×W uint8.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=fps)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        for image in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="gray")
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as source:
        seen = [
            np.asarray(frame.to_ndarray(format="gray"), np.uint8)
            for frame in source.decode(video=0)
        ]
    return np.stack(seen)
