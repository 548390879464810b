"""Four cameras, random faults, twenty minutes: does memory stay flat, and do cameras come back?

    python -m benchmarks soak --json benchmarks/results/soak.json

``facestream run`` is watched from outside: /proc, its metrics, its events.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
from facestream.pipeline import Gallery

from tests.faces import face_clip, portrait_path, walking_face
from tests.servers.clips import looped
from tests.servers.debian import servers_missing
from tests.servers.proxy import FaultProxy
from tests.servers.rtsp import RtspServer
from tests.servers.web import WebServer

from . import ROOT
from .plots import figure_class
from .soak_faults import Chaos, Rig
from .soak_samples import Sampler, free_port, summary

CODE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    import facestream.pipeline
except ImportError:
    import conftest
from facestream.pipeline.cli import main
sys.exit(main())
"""
SETTINGS = """
[live]
open_timeout = 8.0
read_timeout = 4.0
stall_after = 2.0
retry_first = 0.5
retry_longest = 2.0
[tracking]
detect_every = 8
[runtime]
threads = 2
[events]
rotate_megabytes = 1.0
keep_files = 3
"""


@contextmanager
def rig(folder: Path, clip: Path, seconds: float) -> Iterator[Rig]:
    """Two RTSP servers and a web server; all but one camera behind proxies."""
    looped(clip, folder / "endless.mkv", seconds=seconds)
    looped(clip, folder / "endless.ts", seconds=seconds)
    jpegs = [cv2.imencode(".jpg", walking_face(i, (640, 360)))[1].tobytes() for i in range(100)]
    mounts = {"/main": folder / "endless.mkv"}
    with ExitStack() as stack:
        hall = stack.enter_context(RtspServer(mounts))
        door = stack.enter_context(RtspServer(mounts))
        web = stack.enter_context(WebServer(folder, pictures=jpegs, fps=10))
        proxies = {
            "door": stack.enter_context(FaultProxy(door.port, seed=1)),
            "yard": stack.enter_context(FaultProxy(web.port, seed=2)),
            "gate": stack.enter_context(FaultProxy(web.port, seed=3)),
        }
        urls = {
            "hall": hall.url("/main"),
            "door": door.url("/main", port=proxies["door"].port),
            "yard": web.url("/live/endless.ts", port=proxies["yard"].port),
            "gate": web.url("/mjpeg", port=proxies["gate"].port),
        }
        yield Rig(urls, proxies, {"door": door})


@contextmanager
def program(
    folder: Path, urls: dict[str, str], port: int, *, outputs: Sequence[str | Path]
) -> Iterator[subprocess.Popen[bytes]]:
    """``facestream run`` of these cameras; killed in the end if it still runs."""
    tables = "".join(f'[cameras.{name}]\nurl = "{url}"\n' for name, url in urls.items())
    config = folder / "soak.toml"
    config.write_text(SETTINGS + tables, encoding="utf-8")
    people = folder / "people.db"
    with Gallery(people) as gallery:
        gallery.add("Eileen Collins", portrait_path())
    options = ["--config", config, "--gallery", people, "--metrics", f":{port}"]
    options += outputs
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, "run", *urls, *map(str, options)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def stop(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """End it as a user does; how long that took and its exit status."""
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        status: int | str = process.wait(30)
    except subprocess.TimeoutExpired:
        status = "hangs"
    return {"seconds": round(time.monotonic() - began, 2), "status": status}


def soak(folder: Path, clip: Path, *, minutes: float, warm_up: float, seed: int) -> dict[str, Any]:
    """Let it run; returns what was measured."""
    port = free_port()
    seconds = minutes * 60
    with (
        rig(folder, clip, seconds + 120) as servers,
        program(
            folder, servers.urls, port, outputs=("--events", folder / "events.jsonl")
        ) as process,
    ):
        sampler = Sampler(process.pid, port, folder / "events.jsonl")
        chaos = Chaos(servers, sampler, seed=seed)
        try:
            sampler.wait_live(servers.urls)
            until = time.monotonic() + seconds
            while time.monotonic() < until and process.poll() is None:
                sampler.sample()
                chaos.step()
                time.sleep(0.5)
            chaos.settle()
            alive = process.poll() is None
            ended = stop(process)
        except (OSError, TimeoutError) as error:
            tail = (folder / "log.txt").read_text(encoding="utf-8")[-2000:]
            raise SystemExit(f"soak: {error}; the end of the log: {tail}") from error
        events = sampler.count_events()
    return {
        "machine": {"cpus": len(os.sched_getaffinity(0)), "os": platform.platform()},
        "minutes": minutes,
        "seed": seed,
        "clip": clip.name,
        **summary(sampler, chaos.faults, warm_up=warm_up, alive=alive, ended=ended),
        "events": events,
        "faults": [asdict(fault) for fault in chaos.faults],
        "samples": [asdict(sample) for sample in sampler.samples],
    }


def plot(result: dict[str, Any], path: Path) -> None:
    """Memory, descriptors and threads over time, with the faults.

    Raises:
        UsageError: matplotlib is not installed.
    """
    figure = figure_class()(figsize=(9, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    minutes = [sample["at"] / 60 for sample in result["samples"]]
    upper.plot(minutes, [s["rss_mb"] for s in result["samples"]], label="memory")
    upper.set_ylabel("resident memory, MB")
    upper.set_ylim(0, 1.2 * max(s["rss_mb"] for s in result["samples"]))
    lower.plot(minutes, [s["fds"] for s in result["samples"]], label="file descriptors")
    lower.plot(minutes, [s["threads"] for s in result["samples"]], label="threads")
    lower.set(xlabel="minutes", ylabel="count")
    lower.set_ylim(0, 1.2 * max(s["threads"] for s in result["samples"]))
    for axis in (upper, lower):
        for fault in result["faults"]:
            begin = fault["at"] / 60
            axis.axvspan(begin, begin + max(fault["seconds"], 1) / 60, color="0.9", zorder=0)
    lower.legend(loc="lower right")
    upper.set_title("Four cameras with random faults (grey)")
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if a bound was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=22.0)
    parser.add_argument("--warm-up", type=float, default=3.0, help="minutes left out of slopes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clip", type=Path, help="H.264; a rendered one without")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/soak.json")
    options = parser.parse_args(arguments)
    if missing := servers_missing():
        raise SystemExit(f"soak: {missing}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = options.clip or face_clip(folder / "walk.mp4", frames=500, size=(640, 360))
        result = soak(
            folder, clip, minutes=options.minutes, warm_up=options.warm_up, seed=options.seed
        )
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    plot(result, options.json.with_suffix(".png"))
    print(json.dumps({key: result[key] for key in ("bounds", "measured", "verdict")}, indent=2))
    return 0 if result["verdict"] == "kept" else 1
