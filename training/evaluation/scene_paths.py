"""Paths of people through a rendered scene: they enter, stop, turn round, cross and leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from facestream.pipeline.core.types import Floats
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .scene_cast import MARGIN, Actor

Array = NDArray[np.float64]

# The face's box in an aligned face of 112×112: the median of what MTCNN gives there.
_BOX = np.array([17.0, 12.5, 95.0, 116.0])
BOX_IN_HEAD: Array = _BOX + MARGIN


@dataclass(frozen=True, slots=True)
class SceneRules:
    """Settings of scenes; ranges are drawn from once a passage or once a scene.

    Attributes:
        seconds: length.
        fps: frames a second.
        width, height: of a frame in pixels, even.
        at_once: people in the picture at the same time, at the most.
        face: height of a face's box in pixels.
        growth: the largest factor between the sizes at both ends of a passage.
        passage: seconds that one takes.
        picture: seconds after which a person's picture changes for another.
        fade: seconds of the cross-fade between them.
        roll: degrees that heads sway at the most.
        defocus: standard deviation of the blur, in pixels.
        noise: the sensor's standard deviation in grey levels.
        crf: H.264's constant rate factor.
    """

    seconds: float = 16.0
    fps: int = 25
    width: int = 1280
    height: int = 720
    at_once: int = 2
    face: tuple[float, float] = (60.0, 160.0)
    growth: float = 1.5
    passage: tuple[float, float] = (4.0, 7.0)
    picture: tuple[float, float] = (0.5, 1.0)
    fade: float = 0.2
    roll: float = 6.0
    defocus: tuple[float, float] = (0.0, 1.5)
    noise: tuple[float, float] = (2.0, 5.0)
    crf: tuple[int, int] = (21, 27)


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One person's way through the picture, F frames from ``start`` on.

    Attributes:
        actor: who.
        start: first frame.
        scale: F, pixels of the frame a pixel of the head's picture.
        centre: F×2, middle of the face's box in pixels.
        roll: F, degrees.
        light: F, factor on brightness.
        pictures: F, row of the actor's heads.
        following: F, the row being faded in.
        mix: F, its share, 0..1.
        defocus: pixels.
    """

    actor: Actor
    start: int
    scale: Array
    centre: Array
    roll: Array
    light: Array
    pictures: NDArray[np.int64]
    following: NDArray[np.int64]
    mix: Array
    defocus: float

    @property
    def stop(self) -> int:
        """One past the last frame."""
        return self.start + len(self.scale)

    def box(self, index: int) -> Floats:
        """The face's box in the passage's frame ``index``: x1, y1, x2, y2."""
        half = (BOX_IN_HEAD[2:] - BOX_IN_HEAD[:2]) / 2 * self.scale[index]
        middle = self.centre[index]
        return np.concatenate([middle - half, middle + half]).astype(np.float32)


def draw_passages(
    actors: Sequence[Actor], rng: np.random.Generator, *, rules: SceneRules
) -> list[Passage]:
    """Everybody's way through one scene, by their start.

    The scene begins and ends empty, so that it can be shown again and again. Nobody is in it
    twice at the same time.

    Raises:
        ValueError: the largest faces do not fit into the frame.
    """
    if rules.height < 1.4 * rules.face[1]:
        raise ValueError(
            f"faces of up to {rules.face[1]:g} px need frames of {1.4 * rules.face[1]:.0f} px and "
            f"more in height, not {rules.height}"
        )
    passages: list[Passage] = []
    for place in range(rules.at_once):
        now = rng.uniform(0.2, 0.8) + 1.3 * place
        while True:
            seconds = rng.uniform(*rules.passage)
            if now + seconds > rules.seconds - 0.3:
                break
            first, last = round(now * rules.fps), round((now + seconds) * rules.fps)
            busy = {p.actor.name for p in passages if p.stop > first and p.start < last}
            free = [actor for actor in actors if actor.name not in busy]
            actor = free[int(rng.integers(len(free)))]
            passages.append(_draw(actor, first, last - first, rng, rules))
            now += seconds + rng.uniform(0.3, 1.2)
    return sorted(passages, key=lambda p: p.start)


def _draw(
    actor: Actor, start: int, count: int, rng: np.random.Generator, rules: SceneRules
) -> Passage:
    t = np.arange(count) / rules.fps
    least, most = rules.face
    first = np.exp(rng.uniform(np.log(least), np.log(most)))
    last = np.clip(first * rules.growth ** rng.uniform(-1, 1), least, most)
    size = np.geomspace(first, last, count)
    scale = size / (BOX_IN_HEAD[3] - BOX_IN_HEAD[1])
    pictures, following, mix = _pictures(len(actor.heads), count, rng, rules)
    phase = rng.uniform(0, 2 * np.pi, 3)
    sway = np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * t + phase[0])
    step = np.sin(2 * np.pi * rng.uniform(1.6, 2.2) * t + phase[1])
    drift = np.sin(2 * np.pi * rng.uniform(0.05, 0.15) * t + phase[2])
    room = np.array([0.55 * most, rules.height - 0.75 * most])
    level = rng.uniform(*room)
    y = np.clip(level + 40 * drift, *room) + 0.03 * size * step
    light = rng.uniform(0.75, 1.15) * (1 + 0.12 * np.sin(2 * np.pi * 0.2 * t + phase[0]))
    return Passage(
        actor=actor,
        start=start,
        scale=scale,
        centre=np.stack([_across(t, size, rng, rules), y], axis=1),
        roll=rules.roll * rng.uniform(0.3, 1.0) * sway,
        light=light,
        pictures=pictures,
        following=following,
        mix=mix,
        defocus=float(rng.uniform(*rules.defocus)),
    )


def _across(t: Array, size: Array, rng: np.random.Generator, rules: SceneRules) -> Array:
    """x over time: from one side out of the picture to the other, or back; some stop on the way."""
    outside = 1.2 * size.max()
    left, right = -outside, rules.width + outside
    turn = rng.uniform(0.35, 0.8)
    ways = ([0.0, 1.0], [0.0, turn, 0.0]) if rng.random() < 0.3 else ([0.0, 1.0],)
    way = ways[-1]
    times = list(np.linspace(0, t[-1], len(way)))
    if rng.random() < 0.4:
        # Stands still for a while, about in the middle.
        pause = rng.uniform(0.5, 1.5)
        at = t[-1] * rng.uniform(0.4, 0.5)
        there = float(np.interp(at, times, way))
        after = [(x, p) for x, p in zip(times, way, strict=True) if x > at + pause]
        before = [(x, p) for x, p in zip(times, way, strict=True) if x < at]
        joined = [*before, (at, there), (at + pause, there), *after]
        times, way = [x for x, _ in joined], [p for _, p in joined]
    course = gaussian_filter1d(np.interp(t, times, way), 0.15 * rules.fps, mode="nearest")
    if rng.random() < 0.5:
        course = 1 - course
    x: Array = left + (right - left) * course
    return x


def _pictures(
    heads: int, count: int, rng: np.random.Generator, rules: SceneRules
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Which picture each frame shows, which is faded in, and how far that has come."""
    pictures, following = np.zeros(count, np.int64), np.zeros(count, np.int64)
    mix = np.zeros(count)
    fade = max(1, round(rules.fade * rules.fps))
    at, now = 0, int(rng.integers(heads))
    while at < count:
        length = max(fade + 1, round(rng.uniform(*rules.picture) * rules.fps))
        other = (now + 1 + int(rng.integers(max(1, heads - 1)))) % heads
        pictures[at : at + length] = now
        following[at : at + length] = other
        ramp = np.linspace(0, 1, fade + 2)[1:-1]
        end = min(at + length, count)
        begin = at + length - fade
        if begin < end:
            mix[begin:end] = ramp[: end - begin]
        at, now = at + length, other
    return pictures, following, mix
