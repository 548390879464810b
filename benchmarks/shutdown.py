"""The shutdown promise, a hundred times: no hang, and complete files.

    python -m benchmarks shutdown --json benchmarks/results/shutdown.json

Each run of a camera, a file and a dead camera is ended at a random moment by SIGINT, SIGTERM, a
full disk or a sink that raises; see tests/live/endings.py.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from facestream.pipeline import Settings

from tests.disks import small_disk
from tests.faces import face_clip
from tests.live.conftest import QUICK
from tests.live.endings import HANG, Ending, Mixed, Plan, end_once, nobody, plans
from tests.live.leaks import Held
from tests.servers.clips import looped
from tests.servers.debian import servers_missing
from tests.servers.rtsp import RtspServer

from . import ROOT


def end_in(plan: Plan, mixed: Mixed, folder: Path) -> Ending:
    """One run, its outputs in a new folder below ``folder``."""
    with tempfile.TemporaryDirectory(dir=folder) as name, ExitStack() as stack:
        place = Path(name)
        if plan.way.endswith("disk full"):
            place = stack.enter_context(small_disk(place / "disk", kilobytes=2048))
        return end_once(plan, mixed, place)


def endings(runs: int, *, seed: int, folder: Path) -> tuple[list[Ending], str]:
    """Run and end; also what this process held in the end and not after the first runs."""
    clip = face_clip(folder / "walk.mp4", frames=500)
    endless = looped(clip, folder / "walk.mkv", seconds=600)
    settings = Settings().with_values(QUICK)
    found: list[Ending] = []
    held: Held | None = None
    with RtspServer({"/walk": endless}) as server, nobody() as dead:
        mixed = Mixed(server.url("/walk"), endless, dead, settings)
        for plan in plans(runs, seed=seed):
            # A hang of this process ends with the stacks of its threads.
            faulthandler.dump_traceback_later(2 * HANG, exit=True)
            found.append(end_in(plan, mixed, folder))
            faulthandler.cancel_dump_traceback_later()
            print(f"{len(found)}/{runs} {plan.way}: {found[-1].outcome}", *found[-1].problems)
            sys.stdout.flush()
            if len(found) == min(6, runs):
                held = Held.now()
        return found, Held.now().beyond(held) if held is not None else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks shutdown", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/shutdown.json")
    options = parser.parse_args(arguments)
    if missing := servers_missing():
        raise SystemExit(f"shutdown: {missing}")
    if os.geteuid() != 0:
        raise SystemExit("shutdown: only root can mount the small disk that is filled")
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_DATA_HOME"] = name  # the user's own gallery is left alone
        found, left = endings(options.runs, seed=options.seed, folder=Path(name))
    broken = [ending for ending in found if ending.problems]
    result = {
        "runs": len(found),
        "seed": options.seed,
        "by_way": Counter(ending.plan.way for ending in found),
        "broken": len(broken),
        "left_over": left,
        "seconds_to_end": {
            "longest": round(max(ending.seconds for ending in found), 2),
            "median": round(sorted(e.seconds for e in found)[len(found) // 2], 2),
        },
        "endings": [asdict(ending) for ending in found],
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} runs, {len(broken)} broken promises; {left or 'nothing'} left over")
    return 1 if broken or left else 0
