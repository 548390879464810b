"""Videos to redact, with the truth: people who walk, cross and leave, cuts, a variable rate."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from facestream.pipeline.core.types import Floats, Image
from facestream.training.evaluation.scene_cast import Cast, draw_cast
from facestream.training.evaluation.scene_paths import SceneRules
from facestream.training.evaluation.scene_truth import Truth
from facestream.training.evaluation.scenes import render_scene
from numpy.typing import NDArray

RULES = SceneRules(
    seconds=8.0, width=640, height=360, face=(30.0, 100.0), growth=2.0, passage=(2.5, 4.5)
)
AT_ONCE = (2, 4, 3)
RATE = 25
# Of a face's box: the head that scenes draw, sharp part only (see ``training``'s scenes.py).
_HEAD = np.array([50 / 39, 72 / 51.75])
_HEAD_UP = 6.25 / 51.75


@dataclass(frozen=True, slots=True)
class Clip:
    """A video and where everybody is in each frame.

    Attributes:
        name: of what it tests.
        path: the video.
        frames: for each of its frames, the truth of the scene and the number there.
    """

    name: str
    path: Path
    frames: tuple[tuple[Truth, int], ...]

    def faces(self, frame: int) -> Iterator[tuple[str, NDArray[np.bool_], Floats]]:
        """Name, visible pixels of the face (H×W) and box of everybody in a frame."""
        truth, number = self.frames[frame]
        rows = truth.rows(number)
        owner = np.zeros((truth.size[1], truth.size[0]), np.uint8)
        places = list(zip(truth.passage[rows].tolist(), truth.boxes[rows], strict=True))
        for place, (_, box) in enumerate(places, 1):  # the nearest is drawn last
            cv2.ellipse(owner, *_head(box), 0, 0, 360, (place,), -1)
        for place, (passage, box) in enumerate(places, 1):
            yield truth.names[passage], _in_box(owner == place, box), box


def _head(box: Floats) -> tuple[tuple[int, int], tuple[int, int]]:
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    middle = middle - (0, half[1] * _HEAD_UP)
    axes = half * _HEAD
    return (round(float(middle[0])), round(float(middle[1]))), (
        max(1, round(float(axes[0]))),
        max(1, round(float(axes[1]))),
    )


def _in_box(mask: NDArray[np.bool_], box: Floats) -> NDArray[np.bool_]:
    height, width = mask.shape
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, (width, height) * 2).astype(int)
    inside = np.zeros_like(mask)
    inside[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
    return inside


def prepare(cache: Path, data: Path, *, seed: int) -> tuple[Cast, tuple[Clip, ...]]:
    """The people and the videos of a seed; kept in ``cache``."""
    folder = cache / f"redact_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "cast.pickle"
    if kept.is_file():
        cast: Cast = pickle.loads(kept.read_bytes())  # our own file
    else:
        cast = draw_cast(data / "lfw", shown=10, absent=20, seed=seed)
        kept.write_bytes(pickle.dumps(cast))
    scenes = []
    for number, people in enumerate(AT_ONCE):
        path, truth_file = folder / f"scene_{number}.mp4", folder / f"scene_{number}.json"
        if not truth_file.is_file():
            rng = np.random.default_rng((seed, number))
            rules = replace(RULES, at_once=people)
            render_scene(path, cast.actors, rng, rules=rules).save(truth_file)
        scenes.append((path, Truth.load(truth_file)))
    whole = [[(place, number) for number in range(t.frames)] for place, (_, t) in enumerate(scenes)]
    turns = [
        one for at in range(40, 160, 30) for place in range(3) for one in whole[place][at : at + 10]
    ]
    rng = np.random.default_rng((seed, 99))
    some = [one for one in whole[2] if rng.random() < 0.6]
    clips = {
        "two people": (whole[0], False),
        "four people, crossing": (whole[1], False),
        "cuts": (turns, False),
        "variable rate": (some, True),
    }
    made = []
    for name, (pieces, variable) in clips.items():
        path = folder / f"{name.replace(', ', '_').replace(' ', '_')}.mp4"
        if not path.is_file():
            _join(path, pieces, [scene for scene, _ in scenes], variable=variable)
        made.append(Clip(name, path, tuple((scenes[p][1], n) for p, n in pieces)))
    return cast, tuple(made)


def _join(
    path: Path, pieces: Sequence[tuple[int, int]], scenes: Sequence[Path], *, variable: bool
) -> None:
    """Write frames of scenes as one video with a tone."""
    pictures = [list(images(scene)) for scene in scenes]
    partial = path.with_name(f".{path.name}")
    with av.open(str(partial), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = RULES.width, RULES.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 12800)
        stream.options = {"crf": "20", "preset": "veryfast"}
        sound: Any = container.add_stream("aac", rate=16000, layout="mono")
        last = 0
        for place, (scene, number) in enumerate(pieces):
            frame = av.VideoFrame.from_ndarray(pictures[scene][number], format="bgr24")
            at = number - pieces[0][1] if variable else place
            frame.pts, frame.time_base = at * 512, Fraction(1, 12800)
            container.mux(stream.encode(frame))
            end = (at + 1) * 640
            container.mux(sound.encode(_tone(last, end)))
            last = end
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    partial.replace(path)


def _tone(first: int, last: int) -> av.AudioFrame:
    wave = 0.2 * np.sin(2 * np.pi * 440 / 16000 * np.arange(first, last))
    frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 16000, first, Fraction(1, 16000)
    return frame


def images(path: Path) -> Iterator[Image]:
    """The frames of a video, H×W×3 BGR uint8."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
