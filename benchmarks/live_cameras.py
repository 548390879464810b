"""Cameras over RTSP from a real server on loopback: how many are kept up with, and how well."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from facestream.pipeline import Pipeline, Settings
from facestream.pipeline.core.types import FrameResult
from facestream.pipeline.sinks.base import Sink
from facestream.pipeline.sources import SourceSpec
from facestream.training.evaluation.mot import Score, total
from facestream.training.evaluation.scene_truth import read_stamp

from tests.servers.rtsp import RtspServer

from .live_files import SceneReport, cpu_seconds, reported_of
from .live_scenes import Scene, SceneSet, endless
from .suites.e2e import Videos

# A camera is kept up with when its frames are this young and so many of those due are searched.
MAX_AGE_P95 = 0.5
LEAST_SEARCHED = 0.95
# Seconds after which a run without any result is given up.
GIVE_UP = 60.0


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: so many cameras, every N-th frame searched, for so long."""

    cameras: int
    every: int
    warm_up: float
    seconds: float
    threads: int


@dataclass(slots=True)
class _Lap:
    """One time through a scene: ``last`` is the newest frame's number."""

    report: SceneReport = field(default_factory=SceneReport)
    frames: list[int] = field(default_factory=list)
    last: int = -1


class _Recorder(Sink):
    """Counts, times and keeps results, from the moment when all cameras have delivered."""

    def __init__(self, scenes: dict[str, Scene], point: Point) -> None:
        self.ages: list[float] = []
        self.searched: Counter[str] = Counter()
        self.laps: dict[str, list[_Lap]] = {name: [] for name in scenes}
        self.started: float | None = None
        self.ended: float | None = None
        self.cpu = 0.0
        self._fps = {name: scene.truth.fps for name, scene in scenes.items()}
        self._seen: set[str] = set()
        self._point = point
        self._all_there: float | None = None

    def write(self, result: FrameResult) -> None:
        now = time.monotonic()
        self._seen.add(result.frame.source)
        if self._all_there is None and len(self._seen) == self._point.cameras:
            self._all_there = now
        warm = self._all_there is not None and now >= self._all_there + self._point.warm_up
        if self.started is None and warm:
            self.started, self.cpu = now, -cpu_seconds()
            self._forget()
        if self.started is not None and self.ended is None:
            if now < self.started + self._point.seconds:
                self._count(result, now)
            else:
                self.ended, self.cpu = now, self.cpu + cpu_seconds()
        if self.ended is None and result.detected:
            self._note(result, now)

    def _forget(self) -> None:
        """Drop the results of the warm-up; a track named by then is not timed later."""
        for laps in self.laps.values():
            del laps[:-1]
            for lap in laps:
                lap.frames.clear()
                lap.report.reported.clear()
                lap.report.named.clear()

    def _count(self, result: FrameResult, now: float) -> None:
        if result.detected:
            self.ages.append(now - result.frame.captured_at)
            self.searched[result.frame.source] += 1

    def _note(self, result: FrameResult, now: float) -> None:
        """Keep the names of a frame; its number is read from the picture."""
        source, number = result.frame.source, read_stamp(result.frame.image)
        if number is None:
            return
        laps = self.laps[source]
        if not laps or number < laps[-1].last:
            laps.append(_Lap())
        laps[-1].last = number
        laps[-1].frames.append(number)
        at = number / self._fps[source] + now - result.frame.captured_at
        for face in reported_of(result, number):
            laps[-1].report.add(face, seconds=at)


def cameras_point(scene_set: SceneSet, point: Point) -> dict[str, Any]:
    """Measure one point, in this process.

    Returns:
        Searched against due frames, ages, drops, CPU, identities; ``sustained`` says whether it
        kept up.
    """
    few = [scene for scene in scene_set.scenes if scene.at_once <= 2]
    chosen = [few[n % len(few)] for n in range(point.cameras)]
    length = point.warm_up + point.seconds + GIVE_UP
    mounts = {f"/camera{n}": endless(s, seconds=length) for n, s in enumerate(chosen)}
    settings = Settings().with_values(
        {"tracking.detect_every": point.every, "runtime.threads": point.threads}
    )
    names = [f"camera {n}" for n in range(point.cameras)]
    scenes = dict(zip(names, chosen, strict=True))
    recorder = _Recorder(scenes, point)
    with RtspServer(mounts) as server:
        urls = [server.url(path) for path in mounts]
        specs = [SourceSpec("url", url, name) for url, name in zip(urls, names, strict=True)]
        with Pipeline(
            specs, gallery=scene_set.gallery, settings=settings, sinks=[recorder], frames="searched"
        ) as pipeline:
            pipeline.warm_up(next(Videos((chosen[0].clip,)).images()))
            served = _CpuMeter(server.pid)
            _run(pipeline, recorder, served, limit=length - 5)
            run = pipeline.report()
    return {
        **_figures(point, recorder, chosen[0].truth.fps),
        "server_cpu": served.share,
        "dropped": run.dropped,
        **_identities(recorder, scenes),
    }


def _run(pipeline: Pipeline, recorder: _Recorder, served: _CpuMeter, *, limit: float) -> None:
    """Until the sink has seen enough, or for too long."""
    over = threading.Event()

    def guard() -> None:
        give_up = time.monotonic() + limit
        while recorder.ended is None and time.monotonic() < give_up and not over.is_set():
            served.sample(recorder.started is not None)
            over.wait(0.2)
        pipeline.stop()

    thread = threading.Thread(target=guard, name="guard")
    thread.start()
    try:
        pipeline.run()
    finally:
        over.set()
        thread.join()


class _CpuMeter:
    """CPU of the server's process while the cameras are watched."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._first: tuple[float, float] | None = None
        self.share = float("nan")

    def sample(self, counting: bool) -> None:
        """Call it now and then."""
        fields = self._stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        now = time.monotonic()
        if counting and self._first is None:
            self._first = (now, used)
        elif self._first is not None and now > self._first[0]:
            self.share = (used - self._first[1]) / (now - self._first[0])


def _figures(point: Point, recorder: _Recorder, fps: float) -> dict[str, Any]:
    if recorder.started is None:
        return {**_point_fields(point), "sustained": False, "problem": "not every camera was seen"}
    end = recorder.ended if recorder.ended is not None else time.monotonic()
    seconds = end - recorder.started
    due = fps / point.every
    rates = [recorder.searched[name] / seconds for name in recorder.laps]
    p50, p95, p99 = (float(v) for v in np.quantile(recorder.ages or [np.inf], [0.5, 0.95, 0.99]))
    share = sum(rates) / (due * point.cameras)
    return {
        **_point_fields(point),
        "seconds": seconds,
        "due_per_camera": due,
        "searched_per_camera": sum(rates) / point.cameras,
        "searched_share": share,
        "searched_share_of_the_worst": min(rates) / due,
        "age_p50": p50,
        "age_p95": p95,
        "age_p99": p99,
        "cpu": recorder.cpu / seconds if recorder.ended is not None else None,
        "sustained": bool(p95 < MAX_AGE_P95 and share >= LEAST_SEARCHED),
    }


def _point_fields(point: Point) -> dict[str, Any]:
    return {"cameras": point.cameras, "detect_every": point.every}


def _identities(recorder: _Recorder, scenes: dict[str, Scene]) -> dict[str, Any]:
    """Scored on the frames that were searched."""
    scores: list[Score] = [
        lap.report.score(scenes[name], frames=lap.frames)
        for name, laps in recorder.laps.items()
        for lap in laps
    ]
    return total(scores)


def most_cameras(points: Sequence[dict[str, Any]]) -> int:
    """The most cameras that were kept up with, with all fewer ones measured kept up with too."""
    most = 0
    for row in sorted(points, key=lambda r: int(r["cameras"])):
        if not row["sustained"]:
            break
        most = int(row["cameras"])
    return most
