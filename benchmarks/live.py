"""What searching every N-th frame costs and saves, and how many cameras this machine keeps up with.

    python -m benchmarks live --json benchmarks/results/live.json --plot docs/detect_every.png
    python -m benchmarks live --quick

Three parts, each with figures of its own in the JSON (a part that is not run keeps the old ones):

curve     scenes of several people with known truth, as files, at N = 1, 2, 4, 8: accuracy of
          tracks and names, and CPU time. File runs drop nothing: accuracy does not depend on the
          load of the machine.
cameras   the same scenes as cameras of 720p25 from an RTSP server on loopback: how many are kept
          up with (95 % of the due frames searched, 95 % of the results younger than 0.5 s).
versus    the 1080p clip, and the scenes, at N = 4, beside OpenCV's YuNet + SFace on the same
          frames: every frame decoded, every fourth searched.

The people are from LFW, on which neither encoder was trained; half of those in the scenes are
enrolled with other pictures, and many more are enrolled who are in no scene. Scenes are kept in
runs/scenes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from facestream.pipeline.cli.bench_results import Results, describe_machine
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import DATA, ROOT
from .live_cameras import Point, cameras_point, most_cameras
from .live_files import SFACE_COSINE, facestream_files, peer_files
from .live_plot import plot
from .live_scenes import SceneSet, prepare
from .run_suites import measure
from .suite import Options

PARTS = ("curve", "cameras", "versus")
VERSUS_EVERY = 4
_T = TypeVar("_T")


def in_fresh_process(call: Callable[..., _T], *arguments: Any) -> _T:
    """Run it in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def curve(
    scene_set: SceneSet, every: Sequence[int], threads: int, bar: Progress
) -> list[dict[str, Any]]:
    """Accuracy and cost of file runs by N."""
    task = bar.add_task("curve", total=len(every))
    rows = []
    for n in every:
        bar.update(task, description=f"curve: N = {n}")
        rows.append(in_fresh_process(facestream_files, scene_set, n, threads))
        bar.advance(task)
    return rows


def cameras(
    scene_set: SceneSet, every: Sequence[int], given: argparse.Namespace, bar: Progress
) -> list[dict[str, Any]]:
    """For each N the points measured: those asked for, or a search for the most cameras."""
    task = bar.add_task("cameras", total=None)
    rows: list[dict[str, Any]] = []
    for n in every:

        def measured(count: int, n: int = n) -> bool:
            bar.update(task, description=f"cameras: {count} at N = {n}")
            point = Point(count, n, given.warm_up, given.seconds, given.threads)
            rows.append(in_fresh_process(cameras_point, scene_set, point))
            return bool(rows[-1]["sustained"])

        if given.cameras:
            for count in given.cameras:
                measured(count)
        else:
            bisect(measured, start=4 * round(math.sqrt(n)), most=given.most)
    bar.update(task, total=1, completed=1, description="cameras")
    return rows


def bisect(works: Callable[[int], bool], *, start: int, most: int) -> int:
    """The largest count that works, 0 if one does not; counts below one that works work too."""
    good, bad, now = 0, most + 1, min(start, most)
    while bad - good > 1:
        if works(now):
            good = now
        else:
            bad = now
        now = min(good * 2, most) if bad > most and good else (good + bad) // 2
    return good


def versus(scene_set: SceneSet, given: argparse.Namespace, bar: Progress) -> dict[str, Any]:
    """Speed on the clip, rounds in turn, and identities on the scenes, beside YuNet + SFace."""
    task = bar.add_task("versus: speed", total=None)
    zoo = given.data / "models"
    with TemporaryDirectory() as folder:
        chosen = Options(
            Path(folder),
            videos=(given.clip,),
            rounds=given.rounds,
            zoo=zoo,
            contenders=("facestream", "yunet"),
            detect_every=VERSUS_EVERY,
        )
        speed = Results(describe_machine())
        measure(["e2e"], chosen, speed, lambda text: bar.update(task, description=text))
    bar.update(task, description="versus: identities")
    ours = in_fresh_process(facestream_files, scene_set, VERSUS_EVERY, given.threads)
    peers = in_fresh_process(peer_files, scene_set, VERSUS_EVERY, given.threads, zoo)
    bar.update(task, total=1, completed=1, description="versus")
    return {
        "detect_every": VERSUS_EVERY,
        "speed": [row.to_json() for row in speed.rows],
        "identities": [ours, *peers],
    }


def finite(value: Any) -> Any:
    """The same with None for what is not a number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


IDENTITIES = {
    "contender": ("contender", ""),
    "by": ("naming", ""),
    "N": ("detect_every", ""),
    "IDF1 tracks": ("idf1_tracks", "%"),
    "IDF1 names": ("idf1_names", "%"),
    "named right": ("named_right", "%"),
    "wrong": ("named_wrong", "%"),
    "strangers named": ("strangers_named", "%"),
    "sightings right": ("sightings_named_right", "%"),
    "strangers' sightings": ("stranger_sightings_named", "%"),
    "to name p50": ("time_to_name_p50", "s"),
    "p90": ("time_to_name_p90", "s"),
    "switches": ("switches", ""),
    "CPU": ("cpu_per_video_second", "s"),
}
CAMERAS = {
    "N": ("detect_every", ""),
    "cameras": ("cameras", ""),
    "kept up": ("sustained", ""),
    "searched of due": ("searched_share", "%"),
    "worst camera": ("searched_share_of_the_worst", "%"),
    "age p50": ("age_p50", "s"),
    "p95": ("age_p95", "s"),
    "p99": ("age_p99", "s"),
    "CPU": ("cpu", "s"),
    "server's": ("server_cpu", "s"),
    "named right": ("named_right", "%"),
    "to name p50": ("time_to_name_p50", "s"),
}


def cell(value: Any, unit: str) -> str:
    """A share (``%``), seconds (``s``) or anything else as text."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if unit == "%" else f"{value:.2f}" if unit == "s" else str(value)


def print_table(
    console: Console,
    title: str,
    columns: dict[str, tuple[str, str]],
    rows: Sequence[dict[str, Any]],
) -> None:
    """Columns are heads with a key of the rows and its unit."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(cell(row.get(key), unit) for key, unit in columns.values()))
    if rows:
        console.print(table)


def show_tables(report: dict[str, Any], console: Console) -> None:
    """The figures of all parts."""
    versus_part, cameras_part = report.get("versus", {}), report.get("cameras", {})
    peers = [r for r in versus_part.get("identities", []) if r.get("threshold") == SFACE_COSINE]
    identities = [*report.get("curve", {}).get("rows", []), *peers]
    title = "Scenes as files (%, s; CPU per second of video)"
    print_table(console, title, IDENTITIES, identities)
    for row in versus_part.get("speed", []):
        if slower := row.get("slower"):
            console.print(
                f"{row['case']['video']} at N = {VERSUS_EVERY}: {row['contender']} "
                f"{row['median']:.1f} frames/s; facestream is {slower['median']:.2f} "
                f"({slower['low']:.2f}–{slower['high']:.2f}) times as fast",
                highlight=False,
            )
    points = [row for row in cameras_part.get("rows", []) if "age_p50" in row]
    points.sort(key=lambda row: (row["detect_every"], row["cameras"]))
    print_table(console, "Cameras of 720p25 (%, s, cores)", CAMERAS, points)
    if cameras_part:
        console.print(f"cameras kept up with, by N: {cameras_part['most']}", highlight=False)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small and short: does it all run?")
    parser.add_argument("--every", nargs="+", type=int, default=[1, 2, 4, 8], metavar="N")
    parser.add_argument("--scenes", type=int, default=16, help="how many are shown")
    parser.add_argument("--people", type=int, default=60, help="in the scenes, half are enrolled")
    parser.add_argument("--absent", type=int, default=200, help="enrolled and never shown")
    parser.add_argument("--scene-seconds", type=float, default=16.0)
    parser.add_argument("--cameras", nargs="+", type=int, metavar="K", help="no search: these")
    parser.add_argument("--most", type=int, default=32, help="cameras tried at the most")
    parser.add_argument("--warm-up", type=float, default=4.0, help="seconds before each point")
    parser.add_argument("--seconds", type=float, default=18.0, help="of each point")
    parser.add_argument("--rounds", type=int, default=5, help="of the comparison of speed")
    parser.add_argument("--threads", type=int, default=2, help="of every contender")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/, models/, videos/")
    parser.add_argument("--clip", type=Path, help="for the comparison of speed")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "scenes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG of the curve")
    return parser


def chosen(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with ``--quick`` spelt out."""
    given = options().parse_args(arguments)
    if given.quick:
        given.every, given.scenes, given.people, given.absent = [1, 4], 3, 12, 20
        given.cameras, given.warm_up, given.seconds, given.rounds = [2], 2.0, 6.0, 1
    given.clip = given.clip or given.data / "videos" / "street_crowd_1080p.mp4"
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    given = chosen(arguments)
    if not (given.data / "lfw" / "lfw_grey.zip").is_file():
        print(f"no LFW in {given.data}: name the folder of the research data with --data")
        return 2
    report: dict[str, Any] = {}
    if given.json is not None and given.json.is_file():
        report = json.loads(given.json.read_text(encoding="utf-8"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        for part in measured(given, bar):
            report |= part
            if given.json is not None:
                given.json.parent.mkdir(parents=True, exist_ok=True)
                given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show_tables(report, Console(width=160))
    if given.plot is not None and "curve" in report:
        plot(report, given.plot)
    return 0


def measured(given: argparse.Namespace, bar: Progress) -> Iterator[dict[str, Any]]:
    """The parts asked for as they are done, each with when and where it was measured."""
    tasks: dict[str, Any] = {}

    def progress(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what)
        bar.update(tasks[what], total=total, completed=done)

    scene_set = prepare(
        given.cache,
        given.data,
        count=given.scenes,
        people=given.people,
        absent=given.absent,
        seconds=given.scene_seconds,
        progress=progress,
    )
    for part in given.parts:
        load = os.getloadavg()[0]
        if part == "curve":
            found: dict[str, Any] = {"rows": curve(scene_set, given.every, given.threads, bar)}
        elif part == "cameras":
            rows = cameras(scene_set, given.every, given, bar)
            most = {
                str(n): most_cameras([r for r in rows if r["detect_every"] == n])
                for n in given.every
            }
            found = {"rows": rows, "most": most}
        else:
            found = versus(scene_set, given, bar)
        about = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load_before": load,
            "threads": given.threads,
            "scenes": given.scenes,
            "cast": scene_set.cast,
        }
        yield {"machine": describe_machine(), part: finite({**about, **found})}
