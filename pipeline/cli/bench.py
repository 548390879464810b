"""``facestream bench``: how fast this machine is, beside its peers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..bench.results import Results
    from ..bench.suite import Wanted
    from ..bench.suites.e2e import VideoOptions

bench_app = typer.Typer()


# What tells cases apart, in all suites.
_KEYS = (
    *("size", "min_face", "faces", "sources", "batch"),
    *("templates", "part", "threads", "work"),
)


class SuiteChoice(StrEnum):
    """What ``--suite`` takes."""

    DETECT = "detect"
    EMBED = "embed"
    SEARCH = "search"
    E2E = "e2e"
    SCALE = "scale"
    ROOFLINE = "roofline"
    ALL = "all"


@bench_app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "facestream bench\n\n"
        "facestream bench street.mp4 --rounds 3 --json bench.json\n\n"
        "facestream bench --suite detect --suite embed --quick --zoo opencv_zoo_models/\n\n"
        "facestream bench --suite all --json new.json --plot plots/ --markdown bench.md\n\n"
        "facestream bench --suite detect --json new.json --compare old.json\n\n"
        "facestream bench --from new.json --compare old.json\n\n"
        "[bold]Suites[/bold] detect: pictures a second; embed: faces a second; search: queries a "
        "second; e2e: whole videos; scale: by threads, batches and sources; roofline: share of "
        "this machine's measured peaks. Without --suite the given videos, or the clip of "
        "'facestream demo', are measured from file to embedding.\n\n"
        "Contenders take turns, each in a process of its own; medians are shown. Peers: "
        "facenet-pytorch and ONNX Runtime (pip install 'facestream\\[bench]'), OpenCV's YuNet and "
        "SFace (--zoo names the folder of their ONNX files), numpy, FAISS as it comes. The file's "
        "format: docs/benchmarks.md. Ctrl-C ends the bench and keeps what was measured."
    ),
)
def bench(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[VIDEO...]",
            help="Video files for detect and e2e, instead of rendered pictures and clips.",
        ),
    ] = None,
    suite: Annotated[
        list[SuiteChoice] | None, typer.Option("--suite", help="What is measured; repeat for more.")
    ] = None,
    peers: Annotated[
        bool | None,
        typer.Option(
            "--peers/--no-peers", help="Measure the peers too; the default with --suite or --zoo."
        ),
    ] = None,
    zoo: Annotated[
        Path | None, typer.Option("--zoo", metavar="DIR", help="OpenCV Zoo's YuNet and SFace.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, help="Times each is measured; 3, with --quick 2."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=0.01, help="A round's least length; 1, with --quick 0.3. Not of e2e."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer, smaller cases.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY=VALUE", help="Only cases like this, e.g. size=720p."),
    ] = None,
    contender: Annotated[
        list[str] | None,
        typer.Option("--contender", metavar="WORD", help="Only contenders with this in the name."),
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", metavar="N", min=2, help="Frames of each video.")
    ] = None,
    peer_frames: Annotated[
        int,
        typer.Option("--peer-frames", metavar="N", min=2, help="Frames for facenet-pytorch."),
    ] = 24,
    min_face: Annotated[
        int, typer.Option("--min-face", metavar="PX", min=12, help="Smallest face in videos.")
    ] = 40,
    every: Annotated[
        int,
        typer.Option("--detect-every", metavar="N", min=1, help="All search every N-th frame."),
    ] = 1,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="DIR", help="Draw each suite, as PNG and SVG."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables.")
    ] = None,
    note: Annotated[
        str | None,
        typer.Option("--note", metavar="TEXT", help="Put this into the files, e.g. what else ran."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--compare", metavar="OLD.json", help="Show what changed since then."),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Show this file instead of measuring."),
    ] = None,
) -> None:
    """Measure facestream on this machine, beside its peers where they are installed."""
    from tempfile import TemporaryDirectory

    from ..bench.results import load_results
    from ..bench.suites.e2e import VideoOptions
    from .bench_report import Reports

    reports = Reports(as_json, plot, markdown, against)
    if measured is not None:
        reports.write(load_results(measured))
        return
    with TemporaryDirectory(prefix="facestream-bench-") as folder:
        wanted = _wanted(
            Path(folder),
            videos=videos or [],
            rounds=rounds,
            seconds=seconds,
            quick=quick,
            peers=bool(suite or zoo) if peers is None else peers,
            zoo=zoo,
            only=only or [],
            contenders=contender or [],
        )
        options = VideoOptions(max_frames, min_face, peer_frames, every, matrix=bool(suite))
        _measure(suite or [], wanted, options, reports, note=note)


def _wanted(folder: Path, *, only: list[str], **given: Any) -> Wanted:
    """What is asked for, checked.

    Raises:
        UsageError: a video or the folder of the zoo is missing, or ``--only`` cannot be read.
    """
    from ..bench.suite import Wanted
    from ..core.errors import SourceError, UsageError

    for path in given["videos"]:
        if not path.is_file():
            raise SourceError(f"{path} is not a file; name a video")
    if given["zoo"] is not None and not given["zoo"].is_dir():
        raise UsageError(f"{given['zoo']} is not a folder; --zoo names that of YuNet and SFace")
    values: dict[str, tuple[str, ...]] = {}
    for text in only:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--only takes KEY=VALUE, e.g. size=720p, not '{text}'")
        if name not in _KEYS:
            raise UsageError(f"no case has '{name}'; --only takes {', '.join(_KEYS)}")
        values[name] = (*values.get(name, ()), value)
    quick = given["quick"]
    return Wanted(
        folder,
        videos=tuple(given["videos"]),
        rounds=given["rounds"] or (2 if quick else 3),
        seconds=given["seconds"] or (0.3 if quick else 1.0),
        quick=quick,
        peers=given["peers"],
        zoo=given["zoo"],
        only=values,
        contenders=tuple(given["contenders"]),
    )


def _measure(
    suites: list[SuiteChoice],
    wanted: Wanted,
    options: VideoOptions,
    reports: Any,
    *,
    note: str | None,
) -> None:
    """Measure, and report what was measured, also when it was interrupted."""
    from dataclasses import replace

    from ..bench.machine import describe
    from ..bench.results import Results
    from ..bench.run import run_suites
    from ..bench.suites import SUITES, SuiteName
    from .bench_report import Bar, interrupted_by_sigterm, warn_of

    chosen: list[SuiteName] = [
        name for name in SUITES if name in suites or SuiteChoice.ALL in suites
    ] or ["e2e"]
    if not suites and not wanted.videos:
        wanted = replace(wanted, videos=(_demo_clip(wanted.folder),))
    results = Results(describe(), _arguments(chosen, wanted, options))
    if note:
        results.note(note)
    warn_of(results)
    try:
        with interrupted_by_sigterm(), Bar() as bar:
            run_suites(chosen, wanted, results, bar, videos=options)
    except KeyboardInterrupt:
        if results.rows:
            reports.write(results)
        raise
    except BaseException:
        reports.save(results)
        raise
    _complain_of_nothing(results)
    reports.write(results)


def _complain_of_nothing(results: Results) -> None:
    """
    Raises:
        UsageError: no case was left.
    """
    from ..core.errors import UsageError

    if not results.rows:
        told = "; ".join(map(str, results.missing)) or "no case fits --only and --contender"
        raise UsageError(f"nothing was measured: {told}")


def _arguments(suites: list[Any], wanted: Wanted, options: VideoOptions) -> dict[str, Any]:
    """How this was asked for; names of files without their folders."""
    from dataclasses import asdict

    return {
        "suites": list(suites),
        "videos": [video.name for video in wanted.videos],
        "rounds": wanted.rounds,
        "seconds": wanted.seconds,
        "quick": wanted.quick,
        "peers": wanted.peers,
        "zoo": wanted.zoo is not None,
        "only": {name: list(values) for name, values in wanted.only.items()},
        "contenders": list(wanted.contenders),
        "e2e": asdict(options),
    }


def _demo_clip(folder: Path) -> Path:
    from ..sources.demo_clip import write_clip

    clip = folder / "demo.mp4"
    write_clip(clip)
    return clip
