"""Decoding in a process of its own, beside decoding in a thread: what it costs.

    python -m benchmarks isolation CLIP --json benchmarks/results/isolation.json

Both take turns. CPU time is that of this process and of its decoders, so that it says something on
a machine that does other work as well; times by the clock do not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
from facestream.pipeline import Pipeline, Settings
from facestream.pipeline.core.config import RuntimeSettings
from facestream.pipeline.ingest.decoders import SourceOpening
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.sources import Source, SourceOptions, SourceSpec, expand_sources
from facestream.pipeline.sources.process.source import ProcessSource

from tests.decoders import decoders
from tests.servers.clips import looped
from tests.servers.web import WebServer

from . import ROOT

WAYS = ("thread", "process")
PARTS = ("decode", "live", "run", "camera", "start")
Figures = dict[str, dict[str, float]]


def opening(way: str) -> SourceOpening:
    return SourceOpening(RuntimeSettings.model_validate({"isolation": way}), Metrics())


def cpu(decoder: int = 0) -> float:
    """Seconds of this process and of a decoder's; without one, of all that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(one.ru_utime + one.ru_stime for one in used)
    if decoder:
        # Also of one that has ended and was not waited for.
        stat = Path(f"/proc/{decoder}/stat").read_text(encoding="utf-8")
        ticks = stat.rpartition(")")[2].split()[11:13]
        total += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return total


def measured(work: Callable[[], int], source: Source | None = None) -> dict[str, float]:
    """Of work that returns its number of frames."""
    decoder = (source.process_id or 0) if isinstance(source, ProcessSource) else 0
    cpu_before, before = cpu(decoder), time.perf_counter()
    frames = work()
    seconds = time.perf_counter() - before
    used = cpu(decoder) - cpu_before
    return {"fps": frames / seconds, "cpu ms a frame": 1000 * used / frames}


def decode(way: str, clip: Path) -> dict[str, float]:
    """Every frame of a file as BGR."""
    with opening(way)(expand_sources([clip])[0], SourceOptions()) as source:
        return measured(lambda: sum(1 for _ in source), source)


def run(way: str, clip: Path) -> dict[str, float]:
    """The whole pipeline, the start of its decoder included; its networks are loaded before."""
    settings = Settings().with_values({"runtime.isolation": way})
    with Pipeline([clip], settings=settings) as pipeline:
        return measured(lambda: sum(1 for _ in pipeline))


def camera(way: str, url: str, *, seconds: float) -> dict[str, float]:
    """The whole pipeline on a camera of which every fifth frame is searched, from its first frame.

    The pace is the camera's; the decoder's start, which happens once, is left out.
    """
    settings = Settings().with_values({"runtime.isolation": way, "tracking.detect_every": 5})
    with Pipeline([url], settings=settings) as pipeline:
        results = iter(pipeline)
        next(results)
        (decoder,) = decoders() or [0]
        before = arrived(pipeline), cpu(decoder), time.perf_counter()
        after = before
        while after[2] < before[2] + seconds:
            next(results)
            after = arrived(pipeline), cpu(decoder), time.perf_counter()
        pipeline.stop()
        for _ in results:
            """What was read is processed."""
    frames, used, passed = (b - a for a, b in zip(before, after, strict=True))
    return {"fps": frames / passed, "cpu ms a frame": 1000 * used / frames}


def arrived(pipeline: Pipeline) -> int:
    """Frames of all sources that were decoded, used or not."""
    return sum(one.frames + sum(one.dropped.values()) for one in pipeline.report().sources)


def live(way: str, url: str, *, seconds: float) -> dict[str, float]:
    """A camera of which every second picture is converted; the pace is the camera's."""
    halt = threading.Event()
    timer = threading.Timer(seconds, halt.set)
    with opening(way)(expand_sources([url])[0], SourceOptions(halt=halt)) as source:

        def read() -> int:
            timer.start()
            count = 0
            for count, picture in enumerate(source.pictures(), 1):
                if count % 2:
                    picture.image()
            return count

        return measured(read, source)


def start(clip: Path, count: int) -> dict[str, float]:
    """So many decoders at once: until the last is open, and the memory of each."""
    spec = expand_sources([clip])[0]
    specs = [SourceSpec(spec.kind, spec.location, f"camera {n}") for n in range(count)]
    open_source, began = opening("process"), time.perf_counter()
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        sources = list(pool.map(lambda one: open_source(one, SourceOptions()), specs))
        seconds = time.perf_counter() - began
        memory = []
        for source in sources:
            assert isinstance(source, ProcessSource)
            stack.enter_context(source)
            frames = iter(source)
            for _ in range(10):
                next(frames)
            memory.append(_memory(source.process_id or 0))
    return {
        "ms": 1000 * seconds,
        **{f"{kind} MB": statistics.mean(one[kind] for one in memory) for kind in memory[0]},
    }


def start_thread(clip: Path) -> dict[str, float]:
    began = time.perf_counter()
    with opening("thread")(expand_sources([clip])[0], SourceOptions()):
        return {"ms": 1000 * (time.perf_counter() - began)}


def _memory(process: int) -> dict[str, float]:
    """Resident, and with shared pages divided among those that share them."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    values = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return {"resident": values["Rss:"], "proportional": values["Pss:"]}


def compare(clip: Path, rounds: int, only: Sequence[str]) -> dict[str, Any]:
    """Medians over the rounds."""
    trials: dict[str, dict[str, list[dict[str, float]]]] = {}

    def note(what: str, way: str, found: dict[str, float]) -> None:
        trials.setdefault(what, {}).setdefault(way, []).append(found)

    with TemporaryDirectory() as name, av.open(str(clip)) as container:
        folder, size = Path(name), container.streams.video[0]
        looped(clip, folder / "endless.ts", seconds=120)
        with WebServer(folder) as web:
            url = web.url("/live/endless.ts")
            for number in range(rounds):
                for way in WAYS if number % 2 else reversed(WAYS):
                    if "decode" in only:
                        note("decode", way, decode(way, clip))
                    if "live" in only:
                        note("live", way, live(way, url, seconds=6.0))
                    if "camera" in only:
                        note("camera", way, camera(way, url, seconds=15.0))
                    if "run" in only:
                        note("run", way, run(way, clip))
                if "start" in only:
                    note("start 1", "thread", start_thread(clip))
                    note("start 1", "process", start(clip, 1))
                    note("start 8", "process", start(clip, 8))
        return {
            "machine": platform.platform(),
            "clip": f"{clip.name}, {size.width}x{size.height}",
            "rounds": rounds,
            **{
                what: {
                    way: {key: round(statistics.median(t[key] for t in all_), 2) for key in all_[0]}
                    for way, all_ in ways.items()
                }
                for what, ways in trials.items()
            },
        }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks isolation", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/isolation.json")
    options = parser.parse_args(arguments)
    found = compare(options.clip, options.rounds, options.only)
    print(json.dumps(found, indent=2))
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0
