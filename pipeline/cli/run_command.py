"""The flags of ``facestream run``; what it does is in ``run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .flags import ALL, EXAMPLES, Config, Gallery, MinFace, with_devices

RUN_EPILOG = (
    f"{EXAMPLES}\n\n"
    "facestream run party.mp4 --out seen\n\n"
    "facestream run 'clips/*.mp4' --gallery friends.db --events seen.jsonl\n\n"
    "facestream run big.mp4 --detect-every 5 --events - --events-of left | jq -r .name\n\n"
    "facestream run rtsp://10.0.0.7/main 0 --events seen.jsonl --metrics :9109\n\n"
    "facestream run --config cameras.toml --restream :8080\n\n"
    "ffmpeg -i … -c copy -f mpegts - | facestream run - --annotate out.mp4\n\n"
    "Cameras and streams run until Ctrl-C and are opened again when they are lost. Ctrl-C stops "
    "and completes the files; a second one aborts. Exit status: 0 all good, 1 a stage failed, "
    "2 wrong usage, 3 some input was unreadable or truncated, 130 interrupted."
)
FILES, LIVE, TUNING = "Results", "Cameras and streams", "Tuning"


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE",
        help="A video file, a folder or glob of videos or images, a camera number, a URL, the "
        "name of a camera in the settings, or - for a stream on stdin. None: all cameras of the "
        "settings.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Write everything into this folder: events.jsonl, annotated.mp4, the best picture "
        "of each sighting, report.json.",
        rich_help_panel=FILES,
    ),
]
Annotate = Annotated[
    Path | None,
    typer.Option(
        "--annotate",
        metavar="FILE.mp4",
        help="Write the video with boxes and names (FILE-<source>.mp4 each for several; of live "
        "sources FILE-<source>-<time>.mp4 every 10 minutes).",
        rich_help_panel=FILES,
    ),
]
Events = Annotated[
    str | None,
    typer.Option(
        "--events",
        metavar="FILE.jsonl",
        help="Write a JSON line per event; - for stdout. Runs with a live source append.",
        rich_help_panel=FILES,
    ),
]
EventsOf = Annotated[
    str | None,
    typer.Option(
        "--events-of",
        metavar="TYPES",
        help="Only these types of events: appeared, identified, updated, left, source_state; "
        "e.g. left,identified. \\[all]",
        rich_help_panel=FILES,
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.json",
        help="Write counts, stage times and queues as JSON.",
        rich_help_panel=FILES,
    ),
]
NoVideo = Annotated[
    bool,
    typer.Option("--no-video", help="With --out: leave out annotated.mp4.", rich_help_panel=FILES),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[HOST]:PORT",
        help="Serve metrics for Prometheus, e.g. :9109. Without a host only for this machine.",
        rich_help_panel=LIVE,
    ),
]
Restream = Annotated[
    str | None,
    typer.Option(
        "--restream",
        metavar="[HOST]:PORT",
        help="Serve the live picture for browsers, e.g. :8080. A host that others can reach "
        "needs --restream-token.",
        rich_help_panel=LIVE,
    ),
]
RestreamToken = Annotated[
    str | None,
    typer.Option(
        "--restream-token",
        metavar="TOKEN",
        help="What browsers must present: http://HOST:PORT/?token=TOKEN. Others on this machine "
        "can see flags: FACESTREAM_RESTREAM_TOKEN is safer.",
        rich_help_panel=LIVE,
    ),
]
Sinks = Annotated[
    list[str] | None,
    typer.Option(
        "--sink",
        metavar="NAME:ADDRESS",
        help="Send results to the sink of another package, e.g. kafka://host:9092/topic; may be "
        "repeated.",
        rich_help_panel=FILES,
    ),
]
Show = Annotated[
    bool,
    typer.Option(
        "--show", help="Show each source in a window; q or Esc stops.", rich_help_panel=LIVE
    ),
]
Transport = Annotated[
    Literal["tcp", "udp"] | None,
    typer.Option("--transport", help="How RTSP streams travel. \\[tcp]", rich_help_panel=LIVE),
]
DetectEvery = Annotated[
    int | None,
    typer.Option("--detect-every", metavar="N", help="Look for faces on every N-th frame. [1]"),
]
MaxFrames = Annotated[
    int | None, typer.Option("--max-frames", metavar="N", help="Stop each source after N frames.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also print stage times and queues.")
]


@with_devices(*ALL)
def run(
    sources: Sources = None,
    gallery: Gallery = None,
    out: Out = None,
    annotate: Annotate = None,
    events: Events = None,
    events_of: EventsOf = None,
    report: ReportFile = None,
    no_video: NoVideo = False,
    sink: Sinks = None,
    metrics: Metrics = None,
    restream: Restream = None,
    restream_token: RestreamToken = None,
    show: Show = False,
    transport: Transport = None,
    detect_every: DetectEvery = None,
    min_face: MinFace = None,
    max_frames: MaxFrames = None,
    config: Config = None,
    verbose: Verbose = False,
    *,
    devices: dict[str, Any],
) -> None:
    """Watch videos, cameras or pictures and say who was seen, when, and how sure."""
    if show:
        # Windows hang where PyAV's libraries are loaded before OpenCV's.
        import cv2  # noqa: F401
    from ..sinks.outputs import OutputRequest
    from .run import RunRequest, run_sources

    flags = devices | {
        "tracking.detect_every": detect_every,
        "detector.min_face": min_face,
        "runtime.max_frames": max_frames,
        "live.transport": transport,
        "events.types": None if events_of is None else _types(events_of),
        "restream.token": None if restream_token is None else _token(restream_token),
    }
    outputs = OutputRequest(
        out=out,
        annotate=annotate,
        events=events,
        report=report,
        restream=restream,
        show=show,
        video=not no_video,
        others=sink or (),
    )
    request = RunRequest(sources or (), outputs, gallery, metrics=metrics, verbose=verbose)
    raise typer.Exit(run_sources(request, config=config, flags=flags))


def _types(text: str) -> tuple[str, ...]:
    from typing import get_args

    from ..core.events import EventType

    wanted = tuple(part.strip() for part in text.split(",") if part.strip())
    known = get_args(EventType)
    for kind in wanted:
        if kind not in known:
            raise typer.BadParameter(
                f"--events-of: there is no type {kind!r}; the types are {', '.join(known)}"
            )
    if not wanted:
        raise typer.BadParameter(f"--events-of: name some of {', '.join(known)}")
    return wanted


def _token(text: str) -> str:
    if len(text) < 8:
        raise typer.BadParameter("--restream-token: want at least 8 characters")
    return text
