"""``facestream bench``: how fast this machine is, beside its peers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

bench_app = typer.Typer()


@bench_app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "facestream bench\n\n"
        "facestream bench street.mp4 --rounds 3 --json bench.json\n\n"
        "facestream bench street.mp4 --peers --zoo opencv_zoo_models/\n\n"
        "Each contender runs in a fresh process, round after round; medians are shown. Peers: "
        "OpenCV's YuNet + SFace (--zoo names the folder of their ONNX files) and "
        "facenet-pytorch (the 'bench' extra; its encoder with random weights, cost only)."
    ),
)
def bench(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[VIDEO...]", help="Video files; none renders the clip of 'facestream demo'."
        ),
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Measure the peers too.")] = False,
    zoo: Annotated[
        Path | None, typer.Option("--zoo", metavar="DIR", help="OpenCV Zoo's YuNet and SFace.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Times each is measured.")] = 3,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", metavar="N", min=2, help="Frames of each video.")
    ] = None,
    peer_frames: Annotated[
        int,
        typer.Option("--peer-frames", metavar="N", min=2, help="Frames for facenet-pytorch."),
    ] = 24,
    min_face: Annotated[int, typer.Option("--min-face", metavar="PX", min=12)] = 40,
    every: Annotated[
        int,
        typer.Option("--detect-every", metavar="N", min=1, help="All search every N-th frame."),
    ] = 1,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
    ] = None,
) -> None:
    """Measure facestream on videos, beside its peers where they are installed."""
    from ..bench.contenders import Task, missing
    from ..bench.runner import ContenderFailed, compare
    from ..errors import FacestreamError
    from ..sinks.files import check_writable
    from .console import stderr, stdout

    if as_json is not None:
        check_writable(as_json)
    chosen = _videos(videos or [])
    names = ["facestream", "facestream-every"]
    for peer in ("yunet+sface", "facenet-pytorch") if peers or zoo else ():
        reason = missing(peer, Task(chosen[0], zoo=zoo))
        if reason is None:
            names.append(peer)
        else:
            stderr().print(f"{peer} is left out: {reason}", markup=False, highlight=False)
    tasks = [Task(video, max_frames, min_face, zoo, detect_every=every) for video in chosen]
    console = stderr()
    with console.status("measuring") as status:
        try:
            result = compare(
                names,
                tasks,
                rounds=rounds,
                frame_limits={"facenet-pytorch": peer_frames},
                on_progress=status.update,
            )
        except ContenderFailed as error:
            raise FacestreamError(str(error)) from error
    _show(stdout(), result)
    if as_json is not None:
        as_json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _videos(given: list[Path]) -> list[Path]:
    from tempfile import mkdtemp

    from ..errors import SourceError
    from .demo_clip import write_clip

    for path in given:
        if not path.is_file():
            raise SourceError(f"{path} is not a file; name a video")
    if given:
        return given
    clip = Path(mkdtemp(prefix="facestream-bench-")) / "demo.mp4"
    write_clip(clip)
    return [clip]


def _show(console: Any, result: dict[str, Any]) -> None:
    from rich.table import Table

    machine = result["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores; medians of {result['rounds']} rounds; "
        f"start to first result {result['start_to_first_result_seconds']:.2f} s",
        highlight=False,
    )
    for row in result["summary"]:
        table = Table("", "fps", "faces/frame", "memory MB", "load s", "times faster")
        table.title = f"{row['video']}, smallest face {row['min_face']} px"
        for column in table.columns[1:]:
            column.justify = "right"
        for name, figures in row["contenders"].items():
            low, high = figures["ratio_range"]
            table.add_row(
                name,
                f"{figures['fps']:.1f}",
                f"{figures['faces_per_frame']:.1f}",
                f"{figures['peak_memory_mb']:.0f}",
                f"{figures['load_seconds']:.1f}",
                f"{figures['speed_ratio']:.2f} ({low:.2f}–{high:.2f})",
            )
        console.print(table)
    last = next(run for run in reversed(result["runs"]) if run["name"] == "facestream")
    stages = ", ".join(f"{name} {s:.2f} s" for name, s in last["detail"]["stages"].items())
    console.print(
        f"facestream on {last['video']}: {last['seconds']:.2f} s for {last['frames']} frames; "
        f"in the stages: {stages}; the queue that limits: "
        f"{last['detail']['limiting_queue'] or 'none, decoding is the slowest'}",
        highlight=False,
    )
