"""Runs of mixed sources that are ended at a random moment, and what they leave behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import av
from facestream.pipeline import Pipeline, Settings, Sink
from facestream.pipeline.cli.signals import stopping_on_signals
from facestream.pipeline.core.config import to_toml
from facestream.pipeline.core.errors import OutputError, StageFailed
from facestream.pipeline.core.events import parse_event
from facestream.pipeline.core.types import FrameResult
from facestream.pipeline.metrics.families import OUTPUT_DROPPED
from facestream.pipeline.sinks.background import BackgroundSink
from facestream.pipeline.sinks.jsonl import JsonlSink
from facestream.pipeline.sinks.video.segments import SegmentsSink
from facestream.pipeline.sources import expand_sources

from tests.disks import fill

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import conftest
from facestream.pipeline.cli import main
sys.exit(main())
"""
Way = Literal[
    "SIGINT",
    "SIGTERM",
    "sink raises",
    "disk full",
    "program, SIGINT",
    "program, SIGTERM",
    "program, disk full",
]
_WAYS: tuple[Way, ...] = get_args(Way)
# To start the program takes seconds: twelve runs of fifteen are in this process.
_CYCLE = (*_WAYS, *_WAYS[:4], *_WAYS[:4])
HANG = 60.0
"""Seconds after which a run that was ended counts as hanging."""
FULL_SECONDS = 2.5
"""How long a run goes on with a full disk before it is ended."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How and when a run ends.

    Attributes:
        way: what ends it.
        moment: seconds from its start (of a program: from its first event) to that.
    """

    way: Way
    moment: float


@dataclass(slots=True)
class Ending:
    """What became of a run.

    Attributes:
        plan: what ended it.
        seconds: from then until it was over.
        outcome: ``interrupted``, an exit status, or the error that came out.
        frames: pictures in the videos.
        lines: of the events.
        problems: each promise that was broken.
    """

    plan: Plan
    seconds: float = 0.0
    outcome: str = ""
    frames: int = 0
    lines: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mixed:
    """What is run: a camera, a file, and a camera that is never there.

    Attributes:
        camera: URL.
        clip: longer than any run.
        dead: URL.
        settings: of the run.
    """

    camera: str
    clip: Path
    dead: str
    settings: Settings

    @property
    def sources(self) -> list[str]:
        """In an order that lets the file begin while the cameras connect."""
        return [self.camera, str(self.clip), self.dead]


def plans(runs: int, *, seed: int, latest: float = 4.0) -> list[Plan]:
    """Random moments, up to ``latest``; each of the first seven ends in another way."""
    rng, ways = random.Random(seed), _CYCLE
    return [Plan(ways[number % len(ways)], rng.uniform(0.0, latest)) for number in range(runs)]


@contextmanager
def nobody() -> Iterator[str]:
    """The URL of a camera that refuses every connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"rtsp://127.0.0.1:{bound.getsockname()[1]}/none"


class Raising(Sink):
    """Raises from a moment on, and ends the run with that."""

    on_error = "raise"

    def __init__(self) -> None:
        self.now = threading.Event()

    def write(self, result: FrameResult) -> None:
        if self.now.is_set():
            raise OSError("planted")


def end_once(plan: Plan, mixed: Mixed, folder: Path) -> Ending:
    """Run and end it as planned; the outputs are in ``folder`` (a small disk, if it is to fill)."""
    ending, written = Ending(plan), None
    if plan.way.startswith("program"):
        _program(ending, mixed, folder)
    else:
        written = _in_process(ending, mixed, folder)
    if ending.seconds > 10:
        ending.problems.append(f"took {ending.seconds:.1f} s to end")
    _check_files(ending, folder, written)
    return ending


def _in_process(ending: Ending, mixed: Mixed, folder: Path) -> int | None:
    """Run it in this (main) thread; returns how many pictures the videos must hold, if known."""
    plan, raising = ending.plan, Raising()
    video = BackgroundSink(SegmentsSink(folder / "out.mp4"), name="annotate")
    sinks: list[Sink] = [JsonlSink(folder / "events.jsonl"), video, raising]
    began: list[float] = []

    def trigger() -> None:
        if plan.way == "disk full":
            fill(folder)
            time.sleep(FULL_SECONDS)
        began.append(time.monotonic())
        if plan.way == "sink raises":
            raising.now.set()
        else:
            number = signal.SIGTERM if plan.way == "disk full" else getattr(signal, plan.way)
            os.kill(os.getpid(), number)

    timer = threading.Timer(plan.moment, trigger)
    with Pipeline(expand_sources(mixed.sources), settings=mixed.settings, sinks=sinks) as pipeline:
        with stopping_on_signals(pipeline.stop):
            timer.start()
            try:
                report = pipeline.run()
                ending.outcome = "interrupted" if report.interrupted else "ended"
            except (StageFailed, OutputError) as error:
                ending.outcome = f"{type(error).__name__}: {error}".replace(str(folder), "…")
            ended = time.monotonic()
            timer.join()
        ending.seconds = ended - began[0] if began else 0.0
        wanted = "StageFailed" if plan.way == "sink raises" else "interrupted"
        if not ending.outcome.startswith(wanted):
            ending.problems.append(f"{ending.outcome}, not {wanted}")
        if plan.way == "disk full":
            return None
        late = pipeline.metrics.value(OUTPUT_DROPPED)
        return pipeline.report().frames - round(late)


def _program(ending: Ending, mixed: Mixed, folder: Path) -> None:
    """Run the real program."""
    plan, events = ending.plan, folder / "events.jsonl"
    config = folder / "settings.toml"
    config.write_text(to_toml(mixed.settings), encoding="utf-8")
    options = ["--config", config, "--annotate", folder / "out.mp4", "--events", events]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "run", *mixed.sources, *map(str, options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not (events.exists() and events.stat().st_size):
            time.sleep(0.02)
        time.sleep(plan.moment)
        number = signal.SIGTERM
        if plan.way == "program, disk full":
            fill(folder)
            time.sleep(FULL_SECONDS)
        else:
            number = getattr(signal, plan.way.removeprefix("program, "))
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=HANG)
        ending.seconds = time.monotonic() - began
    except subprocess.TimeoutExpired:
        ending.problems.append("hangs")
        process.kill()
        _, errors = process.communicate()
    ending.outcome = f"exit status {process.returncode}"
    if "Traceback" in errors:
        ending.problems.append(f"a traceback: {errors.splitlines()[-1]}")
    if process.returncode == 0 or process.returncode < 0:
        ending.problems.append(ending.outcome)


def _check_files(ending: Ending, folder: Path, written: int | None) -> None:
    events = folder / "events.jsonl"
    for line in events.read_bytes().splitlines() if events.exists() else []:
        try:
            parse_event(line)
        except ValueError as error:
            ending.problems.append(f"a broken line: {str(error).splitlines()[0]}")
        ending.lines += 1
    for path in sorted(folder.glob("*.mp4")):
        pictures, cut = _pictures(path)
        ending.frames += pictures
        if cut:
            ending.problems.append(f"{path.name} does not play after {pictures} pictures: {cut}")
    if written is not None and ending.frames != written:
        ending.problems.append(f"{ending.frames} pictures in the videos, not {written}")
    for part in folder.glob(".*.part"):
        ending.problems.append(f"{part.name} was left")


def _pictures(path: Path) -> tuple[int, str]:
    """Pictures that decode, and what was wrong with the next; empty at the file's end."""
    count = 0
    try:
        with av.open(str(path)) as video:
            for _ in video.decode(video=0):
                count += 1
    except (av.FFmpegError, IndexError) as error:
        return count, str(error)
    return count, ""
