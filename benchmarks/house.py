"""Speed, memory, start, size and lines of this checkout, or of two in interleaved pairs.

    python -m benchmarks house clips/*.mp4 --json house.json --markdown house.md
    python -m benchmarks house clips/*.mp4 --python ../before/.venv-dev/bin/python \\
        --venv ../before/.venv --venv .venv

``--python`` is the interpreter of the environment to compare with (before), in a folder of its
checkout; this interpreter is the other one (after). Each figure is taken in a fresh process;
medians of the rounds are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from facestream.pipeline.cli.bench import number
from facestream.pipeline.cli.bench_results import describe_machine

from . import ROOT
from .tables import markdown_table

FOLDERS = ("pipeline", "engines", "training", "tests", "benchmarks")
CLI = "import sys; from facestream.pipeline.cli import main; sys.exit(main())"
IMPORT = (
    "import time; start = time.perf_counter(); import facestream.pipeline; "
    "print(time.perf_counter() - start)"
)
FIRST_RESULT = (
    "import os, sys, time; from facestream.pipeline import Pipeline; "
    "next(iter(Pipeline(sys.argv[1:]))); print(time.time(), flush=True); os._exit(0)"
)
Figures = dict[str, list[float]]


def run(python: str, code: str, *arguments: str, folder: Path) -> tuple[str, float, float]:
    """Standard output, seconds, and peak memory in MB of a fresh process; ends if it fails."""
    # The user's own gallery is left alone; the cache of built engines is shared.
    environment = {**os.environ, "XDG_DATA_HOME": str(folder)}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [python, "-c", code, *arguments], cwd=folder, env=environment, stdout=out, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"house: {python} {arguments}: {errors.read()[-500:]}")
        return out.read(), seconds, usage.ru_maxrss / 1024


def one_round(python: str, videos: Sequence[Path], folder: Path) -> Iterator[tuple[str, float]]:
    """Name and value of each figure that is taken in every round."""
    text, _, _ = run(python, IMPORT, folder=folder)
    yield "import facestream.pipeline, ms", 1000 * float(text)
    _, seconds, _ = run(python, CLI, "--help", folder=folder)
    yield "facestream --help, ms", 1000 * seconds
    for video in videos:
        report = folder / "report.json"
        command = ("run", str(video), "--report", str(report))
        _, seconds, memory = run(python, CLI, *command, folder=folder)
        fps = json.loads(report.read_text(encoding="utf-8"))["report"]["fps"]
        yield f"{video.name}, frames/s", fps
        yield f"{video.name}, whole command, s", seconds
        yield f"{video.name}, peak memory, MB", memory
    if videos:
        began = time.time()
        text, _, _ = run(python, FIRST_RESULT, str(videos[0]), folder=folder)
        yield f"{videos[0].name}, start to first result, s", float(text) - began


def sizes(root: Path, venv: Path | None) -> Iterator[tuple[str, float]]:
    """Files and lines of Python by folder, and the size of an environment."""
    total = 0
    for name in FOLDERS:
        files = sorted((root / name).rglob("*.py"))
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        total += lines
        yield f"{name}, files", len(files)
        yield f"{name}, lines", lines
    yield "all lines", total
    if venv is not None:
        command = ["du", "--summarize", "--block-size=1M", str(venv)]
        yield "environment, MB", float(subprocess.check_output(command, text=True).split()[0])


def table(figures: Mapping[str, Figures]) -> str:
    """A row per figure, a column per side; with two sides also their ratio."""
    sides = list(figures)
    rows = []
    for name in dict.fromkeys(name for own in figures.values() for name in own):
        values = [statistics.median(own[name]) if name in own else None for own in figures.values()]
        cells = [name, *("–" if value is None else _text(value) for value in values), ""]
        if len(values) == 2 and None not in values:
            pairs = zip(*(own[name] for own in figures.values()), strict=True)
            ratios = [after / before for before, after in pairs if before]
            cells[-1] = f"{statistics.median(ratios):.2f}" if ratios else ""
        rows.append(cells)
    return markdown_table(("", *sides, "after / before"), rows)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else number(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks house",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--python", type=Path, help="of the environment to compare with")
    parser.add_argument("--venv", action="append", default=[], type=Path, help="before, after")
    parser.add_argument("--rounds", type=int, default=3)
    for name in ("--json", "--markdown"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args(arguments)
    sides, roots = {"after": sys.executable}, {"after": ROOT}
    if given.python is not None:
        # Not resolved: the link is what makes an interpreter one of its environment.
        before = given.python.absolute()
        sides, roots = {"before": str(before), **sides}, {"before": before.parents[2], **roots}
    videos = [video.resolve() for video in given.videos]
    figures: dict[str, Figures] = {side: {} for side in sides}
    result = {"machine": describe_machine(), "rounds": given.rounds, "figures": figures}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, venv in zip_longest(sides, given.venv[: len(sides)]):
            figures[side] = {key: [value] for key, value in sizes(roots[side], venv)}
        for turn in range(given.rounds):
            for side, python in sides.items():
                print(f"round {turn + 1} of {given.rounds}: {side}", file=sys.stderr, flush=True)
                for key, value in one_round(python, videos, folder):
                    figures[side].setdefault(key, []).append(value)
    text = table(figures)
    print(text)
    for path, content in ((given.json, json.dumps(result, indent=1)), (given.markdown, text)):
        if path is not None:
            path.write_text(content + "\n", encoding="utf-8")
    return 0
