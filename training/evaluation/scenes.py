"""Renders scenes of several people walking by, as a camera would record them, with the truth.

For evaluation only. Everything is drawn from one generator, so that a scene can be made again
from its seed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from facestream.pipeline.core.types import Floats, Image
from numpy.typing import NDArray

from .scene_cast import HEAD_SIDE, Actor
from .scene_paths import BOX_IN_HEAD, Passage, SceneRules, draw_passages
from .scene_truth import Truth, stamp

# Part of the key of what is kept: raise it when the same draw gives other pictures.
VERSION: Final = 2
# The head within its picture: centre, half axes and softness of the ellipse that is shown, px.
_CENTRE, _AXES, _SOFT = (120, 122), (54, 76), 5.0
_NOISES: Final = 4
# Share of the time between two frames in which the shutter is open.
_SHUTTER: Final = 0.4
# Pictures of LFW are grey: BGR factors give the skin a warm tone.
_TONE: Final = np.array([0.82, 0.94, 1.08], np.float32)


def render_scene(
    file: Path,
    actors: Sequence[Actor],
    rng: np.random.Generator,
    *,
    rules: SceneRules,
    progress: Callable[[int], None] = lambda done: None,
) -> Truth:
    """Render a scene as H.264 in MP4.

    Args:
        file: the video; exists only when it is complete.
        actors: who may walk by; at least twice ``rules.at_once``.

    Raises:
        ValueError: too few actors.
    """
    if len(actors) < 2 * rules.at_once:
        raise ValueError(
            f"{rules.at_once} people at once need at least {2 * rules.at_once} actors, "
            f"not {len(actors)}"
        )
    passages = draw_passages(actors, rng, rules=rules)
    stage = _Stage(rng, rules)
    frames = round(rules.seconds * rules.fps)
    partial = file.with_name(f".{file.name}")
    crf = int(rng.integers(rules.crf[0], rules.crf[1] + 1))
    with contextlib.closing(_Recorder(partial, rules, crf=crf)) as recorder:
        for number in range(frames):
            recorder.write(stage.frame(number, passages, rng))
            progress(1)
    partial.replace(file)
    return truth_of(passages, rules)


def truth_of(passages: Sequence[Passage], rules: SceneRules) -> Truth:
    """Who is where, frame by frame; places wholly outside the picture are left out."""
    frames = round(rules.seconds * rules.fps)
    rows: list[tuple[int, int, Floats, float]] = []
    for number in range(frames):
        here = _present(passages, number)
        boxes = [passage.box(number - passage.start) for passage in here]
        for place, (passage, box) in enumerate(zip(here, boxes, strict=True)):
            share = _visible(box, boxes[place + 1 :], (rules.width, rules.height))
            if share > 0:
                rows.append((number, passages.index(passage), box, share))
    return Truth(
        fps=float(rules.fps),
        frames=frames,
        size=(rules.width, rules.height),
        names=tuple(passage.actor.name for passage in passages),
        enrolled=tuple(passage.actor.enrolled for passage in passages),
        frame=np.array([row[0] for row in rows], np.int64),
        passage=np.array([row[1] for row in rows], np.int64),
        boxes=np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        visible=np.array([row[3] for row in rows], np.float32),
    )


def _present(passages: Sequence[Passage], number: int) -> list[Passage]:
    """Those in the frame, the smallest (farthest) first: it is drawn first and hidden by others."""
    here = [p for p in passages if p.start <= number < p.stop]
    return sorted(here, key=lambda p: float(p.scale[number - p.start]))


def _visible(box: Floats, nearer: Sequence[Floats], size: tuple[int, int]) -> float:
    """Share of a box that lies in the picture and behind none of the nearer ones (on a grid)."""
    side = 16
    steps = (np.arange(side) + 0.5) / side
    x = box[0] + steps * (box[2] - box[0])
    y = box[1] + steps * (box[3] - box[1])
    shown = ((y >= 0) & (y < size[1]))[:, None] & ((x >= 0) & (x < size[0]))[None]
    for other in nearer:
        hidden = ((y >= other[1]) & (y < other[3]))[:, None] & ((x >= other[0]) & (x < other[2]))
        shown = shown & ~hidden
    return float(shown.mean())


class _Stage:
    """The background, the mask of heads and the sensor's noise."""

    def __init__(self, rng: np.random.Generator, rules: SceneRules) -> None:
        self._rules = rules
        self._back = _background(rng, rules)
        mask = np.zeros((HEAD_SIDE, HEAD_SIDE), np.float32)
        cv2.ellipse(mask, _CENTRE, _AXES, 0, 0, 360, (1.0,), -1)
        self._mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), _SOFT), np.float32)
        shape = (rules.height, rules.width, 3)
        level = float(rng.uniform(*rules.noise))
        noises = 128 + level * rng.standard_normal((_NOISES, *shape), np.float32)
        self._noises = np.clip(np.rint(noises), 0, 255).astype(np.uint8)

    def frame(self, number: int, passages: Sequence[Passage], rng: np.random.Generator) -> Image:
        """H×W×3 BGR uint8, with its number in the corner."""
        image = self._back.copy()
        for passage in _present(passages, number):
            self._paste(image, passage, number - passage.start)
        noise = self._noises[int(rng.integers(_NOISES))]
        seen = np.asarray(cv2.addWeighted(image, 1.0, noise, 1.0, -128.0), np.uint8)
        stamp(seen, number)
        return seen

    def _paste(self, image: Image, passage: Passage, index: int) -> None:
        """Draw one head over the image."""
        scale = float(passage.scale[index])
        middle = (BOX_IN_HEAD[:2] + BOX_IN_HEAD[2:]) / 2
        reach = 0.5 * HEAD_SIDE * scale
        left, top = np.floor(passage.centre[index] - reach).astype(int).clip(0)
        right, bottom = np.ceil(passage.centre[index] + reach).astype(int)
        right, bottom = min(right, image.shape[1]), min(bottom, image.shape[0])
        if right <= left or bottom <= top:
            return
        matrix = cv2.getRotationMatrix2D(
            (float(middle[0]), float(middle[1])), float(passage.roll[index]), scale
        )
        matrix[:, 2] += passage.centre[index] - middle - (left, top)
        size = (int(right - left), int(bottom - top))
        head, mask = (
            _warp(part, matrix, size, scale) for part in (_face(passage, index), self._mask)
        )
        head, mask = (_soften(part, passage, index) for part in (head, mask))
        part = image[top:bottom, left:right]
        share = mask[..., None]
        drawn = head * (passage.light[index] * _TONE) * share + part * (1 - share)
        np.clip(drawn, 0, 255, out=drawn)
        part[:] = drawn


def _face(passage: Passage, index: int) -> NDArray[np.float32]:
    heads, mix = passage.actor.heads, float(passage.mix[index])
    now = heads[passage.pictures[index]].astype(np.float32)
    if mix == 0:
        return np.asarray(now, np.float32)
    other = heads[passage.following[index]].astype(np.float32)
    return np.asarray((1 - mix) * now + mix * other, np.float32)


def _warp(
    part: NDArray[np.float32], matrix: NDArray[Any], size: tuple[int, int], scale: float
) -> NDArray[np.float32]:
    # Bilinear sampling reads 2×2 pixels: before it shrinks, the picture is blurred to match.
    if scale < 0.8:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 / scale), np.float32)
    return np.asarray(cv2.warpAffine(part, matrix, size, flags=cv2.INTER_LINEAR), np.float32)


def _soften(part: NDArray[np.float32], passage: Passage, index: int) -> NDArray[np.float32]:
    """Out of focus and smeared by the way it moves."""
    if passage.defocus > 0.3:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), passage.defocus), np.float32)
    before = max(index - 1, 0)
    speed = np.abs(passage.centre[index] - passage.centre[before]) * _SHUTTER
    across, down = (1 + 2 * round(float(way) / 2) for way in speed)
    if across > 1 or down > 1:
        part = np.asarray(cv2.blur(part, (across, down)), np.float32)
    return part


def _background(rng: np.random.Generator, rules: SceneRules) -> Image:
    """A wall, a floor and some furniture: nothing that looks like a face."""
    height, width = rules.height, rules.width
    corners = rng.uniform(60, 190, (2, 2, 3)).astype(np.float32)
    image = np.asarray(
        cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    for _ in range(12):
        x, y = rng.integers(0, width), rng.integers(0, height)
        across, down = rng.integers(40, 300), rng.integers(60, 400)
        colour = tuple(float(value) for value in rng.uniform(30, 220, 3))
        cv2.rectangle(image, (int(x), int(y)), (int(x + across), int(y + down)), colour, -1)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.float32)
    for cells in (12, 60):
        rough = rng.normal(0, 10, (cells, cells * 2, 3)).astype(np.float32)
        image = image + cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    # Rooms are mostly grey.
    grey = image.mean(axis=2, keepdims=True)
    return np.asarray(np.clip(grey + 0.35 * (image - grey), 0, 255), np.uint8)


class _Recorder:
    """Writes BGR frames as H.264 in MP4; a key frame a second, as cameras do."""

    def __init__(self, file: Path, rules: SceneRules, *, crf: int) -> None:
        self._container = av.open(str(file), "w", format="mp4")
        stream: Any = self._container.add_stream("libx264", rate=rules.fps)
        stream.width, stream.height = rules.width, rules.height
        stream.pix_fmt = "yuv420p"
        # No B frames: cameras send none. One slice a frame: RTP servers that repeat the parameter
        # sets before key frames cut those with several slices in two.
        stream.options = {
            "crf": str(crf),
            "preset": "veryfast",
            "bf": "0",
            "x264-params": "sliced-threads=0:slices=1",
            "g": str(rules.fps),
        }
        self._stream = stream

    def write(self, image: Image) -> None:
        """One frame more, H×W×3 uint8."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
