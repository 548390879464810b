"""The scenes of the live benchmark, their truth and the gallery, kept between runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from facestream.pipeline.core.types import Image
from facestream.pipeline.gallery import Gallery
from facestream.training.evaluation.scene_cast import draw_cast
from facestream.training.evaluation.scene_paths import SceneRules
from facestream.training.evaluation.scene_truth import Truth
from facestream.training.evaluation.scenes import VERSION, render_scene

Progress = Callable[[str, int, int], None]

# People at once, scene by scene: mostly one or two, sometimes more.
PEOPLE_AT_ONCE = (1, 2, 2, 1, 2, 4, 2, 1, 2, 3, 2, 1, 4, 2, 2, 3)
SEED = 20261122


@dataclass(frozen=True, slots=True)
class Scene:
    """A rendered clip and the file of its truth."""

    clip: Path
    truth_file: Path
    at_once: int

    @property
    def truth(self) -> Truth:
        """Who is where."""
        return Truth.load(self.truth_file)


@dataclass(frozen=True, slots=True)
class SceneSet:
    """All scenes and who is in them.

    Attributes:
        scenes: the clips.
        gallery: facestream's gallery of the enrolled.
        pictures: the folder of the same pictures, a folder a person.
        cast: who there is, for reports.
    """

    scenes: tuple[Scene, ...]
    gallery: Path
    pictures: Path
    cast: dict[str, int]

    def enrolled(self) -> Iterator[tuple[str, list[Image]]]:
        """Name and pictures of everybody enrolled."""
        for folder in sorted(self.pictures.iterdir()):
            pictures = [cv2.imread(str(file)) for file in sorted(folder.iterdir())]
            yield folder.name, [np.asarray(p, np.uint8) for p in pictures if p is not None]


def prepare(
    cache: Path,
    data: Path,
    *,
    count: int,
    people: int,
    absent: int,
    seconds: float,
    progress: Progress,
) -> SceneSet:
    """Render what is missing in ``cache``; the same arguments give the same scenes.

    Args:
        cache: folder that keeps them.
        data: the folder of ``lfw/``.
        count: scenes.
        people: in the scenes, every other one enrolled.
        absent: enrolled and never shown.
        seconds: length of a scene.
        progress: called with what is made, how many are done, and of how many.
    """
    rules = SceneRules(seconds=seconds)
    wanted = {
        "version": VERSION,
        "seed": SEED,
        "people": people,
        "absent": absent,
        "crowds": PEOPLE_AT_ONCE,
        "rules": asdict(rules),
    }
    key = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]
    folder = cache / key
    folder.mkdir(parents=True, exist_ok=True)
    scenes = tuple(
        Scene(
            folder / f"scene_{n:02d}.mp4",
            folder / f"scene_{n:02d}.json",
            PEOPLE_AT_ONCE[n % len(PEOPLE_AT_ONCE)],
        )
        for n in range(count)
    )
    scene_set = SceneSet(
        scenes,
        folder / "gallery.db",
        folder / "gallery",
        {"people": people, "enrolled": (people + 1) // 2, "absent": absent},
    )
    complete = folder / "gallery.complete"
    missing = [n for n, scene in enumerate(scenes) if not scene.truth_file.is_file()]
    if not missing and complete.is_file():
        return scene_set
    cast = draw_cast(
        data / "lfw",
        shown=people,
        absent=absent,
        seed=SEED,
        progress=_counter(progress, "people", people + absent),
    )
    if not complete.is_file():
        _enrol(scene_set, cast.gallery, _counter(progress, "enrolled", len(cast.gallery)))
        complete.touch()
    for done, number in enumerate(missing):
        progress("scenes", done, len(missing))
        scene = scenes[number]
        rng = np.random.default_rng((SEED, number))
        own = replace(rules, at_once=scene.at_once)
        render_scene(scene.clip, cast.actors, rng, rules=own).save(scene.truth_file)
    progress("scenes", len(missing), max(1, len(missing)))
    return scene_set


def _counter(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(what, done, total)

    return count


def _enrol(scene_set: SceneSet, gallery: Any, progress: Callable[[int], None]) -> None:
    shutil.rmtree(scene_set.pictures, ignore_errors=True)
    for file in scene_set.gallery.parent.glob(scene_set.gallery.name + "*"):
        file.unlink()
    with Gallery(scene_set.gallery) as kept:
        for name, pictures in gallery:
            folder = scene_set.pictures / name
            folder.mkdir(parents=True)
            for number, picture in enumerate(pictures):
                file = folder / f"{number}.png"
                cv2.imwrite(str(file), picture)
                kept.add(name, file)
            progress(1)


def endless(scene: Scene, *, seconds: float) -> Path:
    """The clip repeated for at least so many seconds, not encoded again; kept beside it."""
    laps = int(np.ceil(seconds / (scene.truth.frames / scene.truth.fps)))
    clip = scene.clip.with_name(f"{scene.clip.stem}_x{laps}.mp4")
    if clip.is_file():
        return clip
    partial = clip.with_name(f".{clip.name}")
    with av.open(str(partial), "w", format="mp4") as out:
        stream: Any = None
        for lap in range(laps):
            with av.open(str(scene.clip)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                shift = lap * (video.duration or 0)
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    out.mux(packet)
    partial.replace(clip)
    return clip
