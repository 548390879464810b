"""The whole job: videos in, embeddings out, by faces a frame and by sources at a time.

Each contender decodes, searches and embeds in a fresh process for every round (``runner``).
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ...core.errors import FacestreamError
from ..contenders import SFACE, YUNET, Task
from ..peers import FACENET, lacks_facenet, lacks_zoo
from ..pictures import SIZES, Size, write_clip
from ..results import (
    Missing,
    Results,
    Row,
    Scalar,
)
from ..runner import (
    ContenderFailed,
    Run,
    in_turn,
    measure,
    summary,
)
from ..stats import ratio
from ..suite import Wanted, Watch

NAME = "e2e"
OURS = ("facestream", "facestream-every")
YUNET_SFACE = "yunet+sface"


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """What is special to videos.

    Attributes:
        max_frames: of each video; None takes all.
        min_face: smallest face in pixels.
        peer_frames: most frames for facenet-pytorch, which is slow.
        every: search every N-th frame.
        matrix: also rendered clips by faces a frame and sources.
    """

    max_frames: int | None = None
    min_face: int = 40
    peer_frames: int = 24
    every: int = 1
    matrix: bool = True


@dataclass(frozen=True, slots=True)
class E2eSuite:
    """See ``suite.Takes``."""

    options: VideoOptions = VideoOptions()
    name = NAME

    def run(self, wanted: Wanted, results: Results, watch: Watch) -> None:
        """Measure the given videos, then the rendered clips.

        Raises:
            FacestreamError: our own pipeline failed; peers that fail are named and left out.
        """
        names = self._names(wanted, results)
        if not names:
            return
        videos = [self._task(wanted, video) for video in wanted.videos]
        matrix = list(_matrix(wanted)) if self.options.matrix else []
        watch.expect((len(videos) + len(matrix)) * len(names) * wanted.rounds)
        runs: list[Run] = []
        summaries: list[dict[str, Any]] = []
        results.videos.update(rounds=wanted.rounds, summary=summaries, runs=runs)
        for task in videos:
            key: dict[str, Scalar] = {"video": task.video.name}
            own = self._measure(names, task, key, wanted, results, watch)
            runs.extend(own)
            present = [name for name in names if any(run["name"] == name for run in own)]
            summaries.append(summary(task, present, own))
        if videos:
            watch.doing("e2e: from the start of a process to its first result")
            starts = [
                measure("facestream-start", videos[0])["seconds"] for _ in range(wanted.rounds)
            ]
            results.videos["start_to_first_result_seconds"] = statistics.median(starts)
        for key in matrix:
            task = self._clip(wanted, key)
            self._measure(names, task, key, wanted, results, watch)

    def _names(self, wanted: Wanted, results: Results) -> list[str]:
        names = list(OURS)
        lacking = {
            YUNET_SFACE: lacks_zoo(NAME, wanted.zoo, (YUNET, SFACE), YUNET_SFACE),
            FACENET: lacks_facenet(NAME),
        }
        for name, missing in lacking.items() if wanted.peers else ():
            if missing is None:
                names.append(name)
            else:
                results.leave_out(missing)
        return [name for name in names if wanted.takes_contender(name)]

    def _task(self, wanted: Wanted, video: Path) -> Task:
        options = self.options
        return Task(
            video,
            options.max_frames,
            options.min_face,
            wanted.zoo,
            detect_every=options.every,
        )

    def _clip(self, wanted: Wanted, key: dict[str, Scalar]) -> Task:
        """A rendered clip, and copies of it for the other sources."""
        seconds = 1.0 if wanted.quick else 4.0
        size = next(size for size in SIZES if size == key["size"])
        clips = _copies(
            wanted.folder, size, int(str(key["faces"])), int(str(key["sources"])), seconds
        )
        return replace(self._task(wanted, clips[0]), more=tuple(clips[1:]))

    def _measure(
        self,
        names: list[str],
        task: Task,
        key: dict[str, Scalar],
        wanted: Wanted,
        results: Results,
        watch: Watch,
    ) -> list[Run]:
        """All rounds of one task; its rows go to the results."""
        able = list(names)
        runs: list[Run] = []
        while True:
            try:
                for run in in_turn(
                    able,
                    task,
                    rounds=wanted.rounds,
                    frame_limits={FACENET: self.options.peer_frames},
                    on_progress=lambda text: watch.doing(f"e2e: {text}"),
                ):
                    runs.append(run)
            except ContenderFailed as error:
                # The one that would have come next.
                failed = able[len(runs) % len(able)]
                if failed in OURS:
                    raise FacestreamError(str(error)) from error
                results.leave_out(Missing(NAME, f"{failed} ({task.video.name})", str(error)))
                able.remove(failed)
                runs.clear()
                continue
            break
        results.rows.extend(_rows(able, runs, key))
        return runs


def _matrix(wanted: Wanted) -> list[dict[str, Scalar]]:
    sizes: tuple[Size, ...] = ("720p",) if wanted.quick else ("1080p",)
    faces = (1, 3) if wanted.quick else (0, 1, 2, 3, 10)
    sources = (1,) if wanted.quick else (1, 4)
    if "size" in wanted.only:
        sizes = tuple(size for size in SIZES if size in wanted.only["size"])
    keys: list[dict[str, Scalar]] = [
        {"size": size, "faces": count, "sources": number}
        for size, count, number in product(sizes, faces, sources)
    ]
    return [key for key in keys if wanted.takes(key)]


def _copies(folder: Path, size: Size, faces: int, sources: int, seconds: float) -> list[Path]:
    """The clip under as many names: every source has one of its own."""
    first = folder / f"{size}-{faces}-faces.mp4"
    if not first.exists():
        write_clip(first, faces, size=size, seconds=seconds)
    clips = [first]
    for number in range(2, sources + 1):
        copy = first.with_name(f"{first.stem}-{number}.mp4")
        if not copy.exists():
            os.link(first, copy)
        clips.append(copy)
    return clips


def _rows(names: Sequence[str], runs: Sequence[Run], key: dict[str, Scalar]) -> list[Row]:
    by_name = {name: [run for run in runs if run["name"] == name] for name in names}
    if not runs:
        return []
    reference = [run["fps"] for run in by_name[names[0]]]
    rows = []
    for name, own in by_name.items():
        rates = [run["fps"] for run in own]
        frames = sum(run["frames"] for run in own)
        counters = own[0]["joules"]
        rows.append(
            Row(
                suite=NAME,
                contender=name,
                case=key,
                unit="frames/s",
                rounds=rates,
                slower=ratio(reference, rates),
                memory_mb=round(statistics.median(run["peak_memory_mb"] for run in own), 1),
                gpu_memory_mb=own[0]["gpu_memory_mb"],
                joules={c: sum(run["joules"][c] for run in own) / frames for c in counters},
                checks={"faces_per_frame": round(own[0]["faces"] / own[0]["frames"], 2)},
                detail={"frames": own[0]["frames"], "load_seconds": own[0]["load_seconds"]},
            )
        )
    return rows
