"""Two hundred faults of a live run, one at a time: who goes on, and how soon does all come back?

    python -m benchmarks fault-runs --faults 200 --json benchmarks/results/fault_runs.json

``facestream run`` watches four cameras; it is seen from outside, by its metrics and /proc only. A
random one of these fails for a few seconds: a camera, a decoder, the disk of its outputs, the
gallery's lock, its descriptors, its memory, its clocks (it is stopped as a machine is that sleeps).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.decoders import decoders_of
from tests.disks import fill, small_disk
from tests.faces import face_clip
from tests.servers.debian import servers_missing
from tests.servers.proxy import Faults

from . import ROOT
from .soak import program, rig, stop
from .soak_faults import LOST_AFTER, Rig
from .soak_samples import Sampler, free_port

Undo = Callable[[], None]


@dataclass(slots=True)
class FaultRun:
    """A fault as it was.

    Attributes:
        kind: what failed.
        camera: whose fault it was; None: everybody's.
        seconds: how long.
        stalled: cameras that had no result although they had no part in it.
        recovered: seconds from its end until all cameras have results; None: never.
    """

    kind: str
    camera: str | None
    seconds: float
    stalled: list[str] = field(default_factory=list)
    recovered: float | None = None


class Breaker:
    """Begins faults; each returns what undoes it.

    Args:
        process: the program.
        disk: a small one, on which its outputs are.
    """

    def __init__(
        self, process: int, servers: Rig, *, disk: Path, gallery: Path, chance: random.Random
    ) -> None:
        self._process = process
        self._servers = servers
        self._disk = disk
        self._gallery = gallery
        self._random = chance
        self.kinds: dict[str, Callable[[], tuple[Undo, str | None]]] = {
            "camera": self.camera,
            "decoder crashes": partial(self.decoder, signal.SIGSEGV),
            "decoder hangs": partial(self.decoder, signal.SIGSTOP),
            "disk": self.disk,
            "gallery lock": self.lock,
            "descriptors": self.descriptors,
            "memory": self.memory,
            "clocks": self.clocks,
        }

    def camera(self) -> tuple[Undo, str]:
        name = self._random.choice(sorted(self._servers.proxies))
        proxy = self._servers.proxies[name]
        proxy.set(self._random.choice([Faults("refuse"), Faults("silent"), Faults("hole")]))
        return proxy.set, name

    def decoder(self, number: signal.Signals) -> tuple[Undo, str | None]:
        """Of one camera, which one is not known: the others are not told apart."""
        with suppress(ProcessLookupError, IndexError):
            os.kill(self._random.choice(decoders_of(self._process)), number)
        return (lambda: None), "one of them"

    def disk(self) -> tuple[Undo, None]:
        fill(self._disk)
        return partial((self._disk / "filler").unlink, missing_ok=True), None

    def lock(self) -> tuple[Undo, None]:
        connection = sqlite3.connect(self._gallery, timeout=5)
        connection.execute("BEGIN EXCLUSIVE")
        return connection.close, None

    def descriptors(self) -> tuple[Undo, None]:
        used = max(int(path.name) for path in Path(f"/proc/{self._process}/fd").iterdir())
        return self._limited(resource.RLIMIT_NOFILE, used + 2), None

    def memory(self) -> tuple[Undo, None]:
        status = Path(f"/proc/{self._process}/status").read_text(encoding="utf-8")
        used = next(line for line in status.splitlines() if line.startswith("VmData:"))
        return self._limited(resource.RLIMIT_DATA, (int(used.split()[1]) << 10) + (64 << 20)), None

    def clocks(self) -> tuple[Undo, None]:
        os.kill(self._process, signal.SIGSTOP)
        return partial(os.kill, self._process, signal.SIGCONT), None

    def _limited(self, what: int, soft: int) -> Undo:
        before = resource.prlimit(self._process, what)
        resource.prlimit(self._process, what, (soft, before[1]))
        return lambda: (resource.prlimit(self._process, what, before), None)[1]


def inject(
    breaker: Breaker, sampler: Sampler, cameras: Sequence[str], kind: str, seconds: float
) -> FaultRun:
    """Break, wait, mend, and wait until every camera has results again."""
    undo, camera = breaker.kinds[kind]()
    fault = FaultRun(kind, camera, seconds)
    began = time.monotonic()
    try:
        time.sleep(1.0)
        if kind != "clocks":
            # Results that were on their way when it began are not counted.
            before = {name: sampler.results(name) for name in cameras}
            time.sleep(max(0.0, began + seconds - time.monotonic()))
            still = [name for name in cameras if sampler.results(name) <= before[name]]
            # Which camera a decoder serves is not known: one may stand still.
            allowed = 1 if camera == "one of them" else 0
            still = [name for name in still if name != camera]
            fault.stalled = still if len(still) > allowed else []
        else:
            time.sleep(seconds)
    finally:
        undo()
    mended = time.monotonic()
    before = {name: sampler.results(name) for name in cameras}
    while time.monotonic() - mended < LOST_AFTER:
        if all(sampler.results(name) >= before[name] + 2 for name in cameras):
            fault.recovered = round(time.monotonic() - mended, 2)
            break
        time.sleep(0.2)
    return fault


def fault_runs(folder: Path, *, count: int, seed: int, kinds: Sequence[str]) -> dict[str, Any]:
    """All of them; returns what was measured."""
    chance, port = random.Random(seed), free_port()
    clip = face_clip(folder / "walk.mp4", frames=500)
    done: list[FaultRun] = []
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk", kilobytes=64 << 10))
        servers = stack.enter_context(rig(folder, clip, 20.0 * count + 300))
        process = stack.enter_context(
            program(folder, servers.urls, port, outputs=("--out", disk / "out", "--no-video"))
        )
        sampler = Sampler(process.pid, port, disk / "out/events.jsonl")
        breaker = Breaker(
            process.pid, servers, disk=disk, gallery=folder / "people.db", chance=chance
        )
        cameras = list(servers.urls)
        try:
            sampler.wait_live(cameras)
            while len(done) < count and process.poll() is None:
                kind = chance.choice(kinds or list(breaker.kinds))
                done.append(inject(breaker, sampler, cameras, kind, chance.uniform(2, 6)))
                print(f"{len(done)}/{count}", asdict(done[-1]), flush=True)
        except OSError as error:  # its metrics are gone: it has ended
            print(f"fault-runs: {error}", file=sys.stderr)
        alive = process.poll() is None
        ended = stop(process) if alive else {"status": process.poll()}
        log = (folder / "log.txt").read_text(encoding="utf-8")
    return {"seed": seed, **summary(done, alive=alive), "ended": ended, "log": log[-3000:]}


def summary(done: Sequence[FaultRun], *, alive: bool) -> dict[str, Any]:
    """By kind: how many, how many stalled others, how soon all were back."""
    rows = {}
    for kind in sorted({fault.kind for fault in done}):
        ours = [fault for fault in done if fault.kind == kind]
        times = [fault.recovered for fault in ours if fault.recovered is not None]
        rows[kind] = {
            "faults": len(ours),
            "stalled others": sum(bool(fault.stalled) for fault in ours),
            "not back": sum(fault.recovered is None for fault in ours),
            "median s": statistics.median(times) if times else None,
            "longest s": max(times, default=None),
        }
    return {"faults": len(done), "alive": alive, "kinds": rows, "runs": [asdict(f) for f in done]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if the program ended, a camera did not come back, or another one stood still."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fault-runs", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", default=[], help="only these; may be repeated")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/fault_runs.json")
    options = parser.parse_args(arguments)
    if missing := servers_missing():
        print(f"fault-runs: {missing}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        found = fault_runs(Path(name), count=options.faults, seed=options.seed, kinds=options.kind)
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found["kinds"], indent=2))
    rows = found["kinds"].values()
    bad = any(row["stalled others"] or row["not back"] for row in rows)
    return 0 if found["alive"] and not bad else 1
