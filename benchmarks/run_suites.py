"""``python -m benchmarks suite``: measures suites, shows, writes, draws and compares the results.

    python -m benchmarks suite all --quick --json quick.json --plot plots/ --markdown quick.md
    python -m benchmarks suite detect --only size=720p --only batch=8 --contender fast
    python -m benchmarks suite e2e street.mp4 --rounds 5 --json new.json --compare old.json
    python -m benchmarks suite --from new.json --compare old.json

Contenders run in processes of their own and take turns in each round; medians are shown.
Ctrl-C ends the run and keeps what was measured.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from facestream.pipeline.cli.bench import changes_table, sigterm_as_interrupt, warn_if_busy
from facestream.pipeline.cli.bench_results import (
    Results,
    compare_results,
    describe_machine,
    load_results,
    machine_lines,
)
from facestream.pipeline.cli.console import stderr, stdout
from facestream.pipeline.core.errors import SourceError, UsageError
from facestream.pipeline.sinks.files import check_writable, make_folder

from . import DATA
from .plots import figure_class, write_plots
from .scheduler import Progress, Scheduler
from .suite import KEYS, Options
from .suites import MAIN, SUITES, suite_named
from .tables import markdown, terminal_tables

log = logging.getLogger(__name__)
INTERRUPTED = 130


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="suites: " + "; ".join(f"{name}: {text}" for name, text in SUITES.items()),
    )
    parser.add_argument("suite", nargs="?", metavar="NAME", choices=(*SUITES, "all"))
    parser.add_argument("videos", nargs="*", type=Path, help="for detect and e2e: not rendered")
    parser.add_argument("--quick", action="store_true", help="fewer, smaller cases; two rounds")
    parser.add_argument("--rounds", type=_positive, help="3, with --quick 2")
    parser.add_argument("--seconds", type=float, help="least length of a round; 1, quick 0.3")
    parser.add_argument("--only", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--contender", action="append", default=[], metavar="WORD")
    parser.add_argument("--no-peers", action="store_true", help="facestream alone")
    zoo = DATA / "models"
    parser.add_argument(
        "--zoo", type=Path, default=zoo if zoo.is_dir() else None, help="YuNet's and SFace's folder"
    )
    parser.add_argument("--max-frames", type=_positive, metavar="N", help="of each video")
    parser.add_argument("--peer-frames", type=_positive, default=24, metavar="N", help="facenet's")
    parser.add_argument("--min-face", type=int, default=40, metavar="PX", help="in videos")
    parser.add_argument("--detect-every", type=_positive, default=1, metavar="N")
    parser.add_argument("--threads", type=_positive, help="of the suite 'training'")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="DIR")
    parser.add_argument("--compare", type=Path, metavar="OLD.json")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing")
    parser.add_argument("--note", help="kept in the files, e.g. what else ran")
    return parser


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 2 for wrong usage, 130 if interrupted."""
    given = options().parse_args(arguments)
    try:
        return _run(given)
    except UsageError as error:
        print(f"benchmarks: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _run(given: argparse.Namespace) -> int:
    old = None if given.compare is None else load_results(given.compare)
    for file in (given.json, given.markdown):
        if file is not None:
            check_writable(file)
    if given.plot is not None:
        figure_class()
        make_folder(given.plot)
    results = _measured(given) if given.source is None else load_results(given.source)
    if given.json is not None:
        results.save(given.json)
    comparison = None if old is None else compare_results(old, results)
    console = stdout()
    for line in machine_lines(results):
        console.print(line, markup=False)
    for table in terminal_tables(results):
        console.print(table)
    for missing in results.missing:
        console.print(str(missing), markup=False)
    if comparison is not None:
        if comparison.changes:
            console.print(changes_table(comparison))
        for line in comparison.lines:
            (stderr() if line.startswith("WARNING") else console).print(line, markup=False)
    if given.markdown is not None:
        given.markdown.write_text(markdown(results, comparison), encoding="utf-8")
    if given.plot is not None:
        for file in write_plots(results, given.plot):
            stderr().print(f"wrote {file}", markup=False)
    return 0 if results.complete or given.source is not None else INTERRUPTED


def _measured(given: argparse.Namespace) -> Results:
    """What was measured until the end or an interruption.

    Raises:
        UsageError: wrong usage, or nothing was measured.
    """
    if given.suite is None:
        raise UsageError(f"name a suite: {', '.join(SUITES)} or all")
    names = list(MAIN) if given.suite == "all" else [given.suite]
    with TemporaryDirectory(prefix="facestream-bench-") as folder, sigterm_as_interrupt():
        chosen = _options(given, Path(folder))
        results = Results(describe_machine(), _arguments(names, chosen))
        results.notes += [given.note] if given.note else []
        results.notes += [] if chosen.peers else ["Other libraries were not measured (--no-peers)."]
        warn_if_busy(results.machine)
        try:
            with stderr().status("") as status:
                measure(names, chosen, results, status.update)
        except KeyboardInterrupt:
            return results
        except BaseException:
            if given.json is not None and results.rows:
                results.save(given.json)
            raise
    if not results.rows:
        reasons = "; ".join(map(str, results.missing)) or "no case fits --only and --contender"
        raise UsageError(f"nothing was measured: {reasons}")
    return results


def measure(names: Sequence[str], chosen: Options, results: Results, progress: Progress) -> None:
    """Measure the suites one after another."""
    for name in names:
        Scheduler(suite_named(name), chosen, results, progress).run()
    results.complete = True


def _options(given: argparse.Namespace, folder: Path) -> Options:
    """
    Raises:
        UsageError: a video or the folder of the zoo is missing, or ``--only`` is malformed.
    """
    for path in given.videos:
        if not path.is_file():
            raise SourceError(f"{path} is not a file; name a video")
    if given.zoo is not None and not given.zoo.is_dir():
        raise UsageError(f"{given.zoo} is not a folder; --zoo names that of YuNet and SFace")
    only: dict[str, tuple[str, ...]] = {}
    for text in given.only:
        name, _, value = text.partition("=")
        if not (name and value):
            raise UsageError(f"--only takes KEY=VALUE, e.g. size=720p, not '{text}'")
        if name not in KEYS:
            raise UsageError(f"no case has '{name}'; --only takes {', '.join(KEYS)}")
        only[name] = (*only.get(name, ()), value)
    return Options(
        folder,
        videos=tuple(given.videos),
        rounds=given.rounds or (2 if given.quick else 3),
        seconds=given.seconds or (0.3 if given.quick else 1.0),
        quick=given.quick,
        peers=not given.no_peers,
        zoo=given.zoo,
        only=only,
        contenders=tuple(given.contender),
        max_frames=given.max_frames,
        peer_frames=given.peer_frames,
        min_face=given.min_face,
        detect_every=given.detect_every,
        threads=given.threads,
    )


def _arguments(names: Sequence[str], chosen: Options) -> dict[str, Any]:
    """For the file; names of files without their folders."""
    plain = ("rounds", "seconds", "quick", "peers", "max_frames", "peer_frames", "min_face")
    return {
        "suites": list(names),
        "videos": [video.name for video in chosen.videos],
        **{name: getattr(chosen, name) for name in (*plain, "detect_every", "threads")},
        "zoo": chosen.zoo is not None,
        "only": {name: list(values) for name, values in chosen.only.items()},
        "contenders": list(chosen.contenders),
    }
