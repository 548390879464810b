"""What searching every N-th frame costs and saves, and how many cameras this machine keeps up with.

    python -m benchmarks.live --json benchmarks/results/live.json --plot docs/detect_every.png
    python -m benchmarks.live --quick

Run it from the root of the repository. Three parts, each with figures of its own in the JSON (a
part that is not run keeps those that are there):

curve     scenes of several people with known truth, as files, at N = 1, 2, 4, 8: how well people
          are followed and named, and the CPU it takes. File runs drop nothing: accuracy does not
          depend on the machine's load.
cameras   the same scenes as cameras of 720p25 from an RTSP server on loopback: how many are kept
          up with (95 % of the due frames searched, 95 % of the results younger than 0.5 s).
versus    the 1080p clip, and the scenes, at N = 4, beside OpenCV's YuNet + SFace on the same
          frames: every frame decoded, every fourth searched.

The people are of LFW, which neither encoder was trained on; half of those shown are enrolled from
other pictures, and many more are enrolled who never come. Scenes are kept in runs/scenes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from facestream.pipeline.bench.contenders import Task
from facestream.pipeline.bench.machine import describe as machine
from facestream.pipeline.bench.runner import compare
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .live_cameras import Point, cameras_point, most_cameras
from .live_files import SFACE_COSINE, facestream_files, peer_files
from .live_plot import plot
from .live_scenes import Show, prepare

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PARTS = ("curve", "cameras", "versus")
VERSUS_EVERY = 4
_T = TypeVar("_T")


def alone(call: Callable[..., _T], *arguments: Any) -> _T:
    """Run it in a fresh process: nothing left over from other measurements."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def curve(show: Show, every: Sequence[int], threads: int, bar: Progress) -> list[dict[str, Any]]:
    """Accuracy and cost of file runs by N."""
    task = bar.add_task("curve", total=len(every))
    rows = []
    for n in every:
        bar.update(task, description=f"curve: N = {n}")
        rows.append(alone(facestream_files, show, n, threads))
        bar.advance(task)
    return rows


def cameras(
    show: Show, every: Sequence[int], given: argparse.Namespace, bar: Progress
) -> list[dict[str, Any]]:
    """For each N the points measured: those asked for, or a search for the most cameras."""
    task = bar.add_task("cameras", total=None)
    rows: list[dict[str, Any]] = []
    for n in every:

        def measured(count: int, n: int = n) -> bool:
            bar.update(task, description=f"cameras: {count} at N = {n}")
            point = Point(count, n, given.warm_up, given.seconds, given.threads)
            rows.append(alone(cameras_point, show, point))
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


def versus(show: Show, given: argparse.Namespace, bar: Progress) -> dict[str, Any]:
    """Speed on the clip, rounds in turn, and identities on the scenes, beside YuNet + SFace."""
    task = bar.add_task("versus: speed", total=None)
    zoo = given.data / "models"
    speed = compare(
        ["facestream", "yunet+sface"],
        [Task(given.clip, None, 40, zoo, detect_every=VERSUS_EVERY)],
        rounds=given.rounds,
        on_progress=lambda text: bar.update(task, description=f"versus: {text}"),
    )
    bar.update(task, description="versus: identities")
    ours = alone(facestream_files, show, VERSUS_EVERY, given.threads)
    peers = alone(peer_files, show, VERSUS_EVERY, given.threads, zoo)
    bar.update(task, total=1, completed=1, description="versus")
    return {
        "detect_every": VERSUS_EVERY,
        "speed": speed["summary"],
        "runs": speed["runs"],
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


def percent(value: float | None) -> str:
    """A share for a table."""
    return "–" if value is None else f"{100 * value:.1f}"


def seconds_text(value: float | None) -> str:
    """Seconds for a table."""
    return "–" if value is None else f"{value:.2f}"


def show_tables(report: dict[str, Any], console: Console) -> None:
    """The figures of all parts that there are."""
    identities = [*report.get("curve", {}).get("rows", [])]
    peers = [
        row
        for row in report.get("versus", {}).get("identities", [])
        if row.get("threshold") == SFACE_COSINE
    ]
    if identities or peers:
        table = Table(
            "contender", "N", "IDF1 tracks", "IDF1 names", "named right", "wrong",
            "strangers named", "sightings right", "strangers' sightings", "to name p50", "p90",
            "switches", "CPU", title="Scenes as files (%, s; CPU per second of video)",
        )  # fmt: skip
        for row in [*identities, *peers]:
            naming = f", by {row['naming']}" if "naming" in row else ""
            table.add_row(
                row["contender"] + naming,
                str(row["detect_every"]),
                *(percent(row[k]) for k in ("idf1_tracks", "idf1_names", "named_right")),
                *(percent(row[k]) for k in ("named_wrong", "strangers_named")),
                *(percent(row[k]) for k in ("sightings_named_right", "stranger_sightings_named")),
                *(seconds_text(row[k]) for k in ("time_to_name_p50", "time_to_name_p90")),
                str(row["switches"]),
                seconds_text(row["cpu_per_video_second"]),
            )
        console.print(table)
    for row in report.get("versus", {}).get("speed", []):
        for name, figures in row["contenders"].items():
            low, high = figures["ratio_range"]
            console.print(
                f"{row['video']} at N = {VERSUS_EVERY}: {name} {figures['fps']:.1f} frames/s; "
                f"facestream is {figures['speed_ratio']:.2f} ({low:.2f}–{high:.2f}) times as fast",
                highlight=False,
            )
    if "cameras" in report:
        show_cameras(report["cameras"], console)


def show_cameras(part: dict[str, Any], console: Console) -> None:
    """The points of the cameras' part."""
    table = Table(
        "N", "cameras", "kept up", "searched of due", "worst camera", "age p50", "p95", "p99",
        "CPU", "server's", "named right", "to name p50", title="Cameras of 720p25 (%, s, cores)",
    )  # fmt: skip
    for row in sorted(part["rows"], key=lambda r: (r["detect_every"], r["cameras"])):
        if "age_p50" not in row:
            continue
        table.add_row(
            str(row["detect_every"]),
            str(row["cameras"]),
            "yes" if row["sustained"] else "no",
            *(percent(row[k]) for k in ("searched_share", "searched_share_of_the_worst")),
            *(seconds_text(row[k]) for k in ("age_p50", "age_p95", "age_p99", "cpu")),
            *(seconds_text(row[k]) for k in ("server_cpu",)),
            percent(row["named_right"]),
            seconds_text(row["time_to_name_p50"]),
        )
    console.print(table)
    console.print(f"cameras kept up with, by N: {part['most']}", highlight=False)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live",
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

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what)
        bar.update(tasks[what], total=total, completed=done)

    show = prepare(
        given.cache,
        given.data,
        count=given.scenes,
        people=given.people,
        absent=given.absent,
        seconds=given.scene_seconds,
        tell=tell,
    )
    for part in given.parts:
        load = os.getloadavg()[0]
        if part == "curve":
            found: dict[str, Any] = {"rows": curve(show, given.every, given.threads, bar)}
        elif part == "cameras":
            rows = cameras(show, given.every, given, bar)
            most = {
                str(n): most_cameras([r for r in rows if r["detect_every"] == n])
                for n in given.every
            }
            found = {"rows": rows, "most": most}
        else:
            found = versus(show, given, bar)
        about = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load_before": load,
            "threads": given.threads,
            "scenes": given.scenes,
            "cast": show.cast,
        }
        yield {"machine": machine(), part: finite({**about, **found})}


if __name__ == "__main__":
    sys.exit(main())
