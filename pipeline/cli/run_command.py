"""The flags of ``facestream run``; what it does is in ``run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .flags import ALL, Config, Gallery, MinFace, Threshold, argument, examples, with_devices

RUN_EPILOG = examples(
    "facestream run party.mp4 --out seen",
    "facestream run 'clips/*.mp4' --gallery friends.db --events seen.jsonl",
    "facestream run big.mp4 --detect-every 5 --events - --events-of left | jq -r .name",
    "facestream run rtsp://10.0.0.7/main 0 --events seen.jsonl --metrics :9109",
    "facestream run --config cameras.toml --restream :8080",
    "facestream run --config cameras.toml --db house.db   (then: facestream who --since today)",
    "facestream run --watch recordings/ --out seen",
    "ffmpeg -i … -c copy -f mpegts - | facestream run - --annotate out.mp4",
    "Cameras and streams run until Ctrl-C and are opened again when they are lost. Ctrl-C stops "
    "and completes the files; another one, a second later or more, aborts. Exit status: 0 all good,"
    " 1 a stage failed, or an output still fails, 2 wrong usage, 3 some input was unreadable or "
    "truncated, 130 interrupted.",
)


def _result(*names: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel="Results")


def _live(*names: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel="Cameras and streams")


@with_devices(*ALL)
def run(
    sources: Annotated[
        list[str] | None,
        argument(
            "SOURCE",
            "A video file, a folder or glob of videos or images, a camera number, a URL, the name "
            "of a camera in the settings, or - for a stream on stdin. None: all cameras of the "
            "settings.",
        ),
    ] = None,
    gallery: Gallery = None,
    db: Annotated[
        str | None,
        _result(
            "--db",
            metavar="FILE|URL",
            text="Store the sightings and their pictures in this database, which holds the people "
            "too (it replaces --gallery); 'facestream who' and 'search' ask it.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        _result(
            *("--out", "-o"),
            metavar="DIR",
            text="Write everything into this folder: events.jsonl, annotated.mp4, the best "
            "picture of each sighting, report.json.",
        ),
    ] = None,
    annotate: Annotated[
        Path | None,
        _result(
            "--annotate",
            metavar="FILE.mp4",
            text="Write the video with boxes and names (FILE-<source>.mp4 each for several; of "
            "live sources FILE-<source>-<time>.mp4 every 10 minutes).",
        ),
    ] = None,
    events: Annotated[
        str | None,
        _result(
            "--events",
            metavar="FILE.jsonl",
            text="Write a JSON line per event; - for stdout. Runs with a live source append.",
        ),
    ] = None,
    events_of: Annotated[
        str | None,
        _result(
            "--events-of",
            metavar="TYPES",
            text="Only these types of events: appeared, identified, updated, left, source_state, "
            "output_state; e.g. left,identified. \\[all]",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        _result(
            "--report", metavar="FILE.json", text="Write counts, stage times and queues as JSON."
        ),
    ] = None,
    no_video: Annotated[
        bool, _result("--no-video", text="With --out: leave out annotated.mp4.")
    ] = False,
    sink: Annotated[
        list[str] | None,
        _result(
            "--sink",
            metavar="NAME:ADDRESS",
            text="Send results to the sink of another package, e.g. kafka://host:9092/topic; may "
            "be repeated.",
        ),
    ] = None,
    mqtt: Annotated[
        str | None,
        _result(
            "--mqtt",
            metavar="URL",
            text="Publish events and who is present to this MQTT broker, mqtt://HOST or "
            "mqtts://HOST (settings mqtt.*). Others on this machine can see flags: a password "
            "belongs into mqtt.password.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        _live(
            "--metrics",
            metavar="[HOST]:PORT",
            text="Serve metrics for Prometheus, e.g. :9109. Without a host only for this machine.",
        ),
    ] = None,
    restream: Annotated[
        str | None,
        _live(
            "--restream",
            metavar="[HOST]:PORT",
            text="Serve the live picture for browsers, e.g. :8080. A host that others can reach "
            "needs --restream-token.",
        ),
    ] = None,
    restream_token: Annotated[
        str | None,
        _live(
            "--restream-token",
            metavar="TOKEN",
            text="What browsers must present: http://HOST:PORT/?token=TOKEN. Others on this "
            "machine can see flags: FACESTREAM_RESTREAM_TOKEN is safer.",
        ),
    ] = None,
    show: Annotated[
        bool, _live("--show", text="Show each source in a window; q or Esc stops.")
    ] = False,
    transport: Annotated[
        Literal["tcp", "udp"] | None, _live("--transport", text="How RTSP streams travel. \\[tcp]")
    ] = None,
    detect_every: Annotated[
        int | None,
        typer.Option("--detect-every", metavar="N", help="Look for faces on every N-th frame. [1]"),
    ] = None,
    min_face: MinFace = None,
    threshold: Threshold = None,
    max_frames: Annotated[
        int | None,
        typer.Option("--max-frames", metavar="N", help="Stop each source after N frames."),
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            "--watch",
            metavar="DIR",
            help="Also read the videos and pictures of this folder, each once, as soon as it is "
            "finished, until Ctrl-C. A file beside the output remembers those that were read.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Read files that another program is still writing to their end: until they have "
            "not grown for 10 s (setting runtime.follow).",
        ),
    ] = False,
    track: Annotated[
        int | None,
        typer.Option(
            "--track",
            metavar="N",
            help="Watch video track N of files with several, from 0; FILE#N for one file.",
        ),
    ] = None,
    isolation: Annotated[
        Literal["auto", "process", "thread"] | None,
        typer.Option(
            "--isolation",
            help="Decode each source in a process of its own, or in threads of this one; auto: "
            "cameras and URLs in processes. \\[auto]",
        ),
    ] = None,
    config: Config = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also print stage times and queues.")
    ] = False,
    *,
    devices: dict[str, Any],
) -> None:
    """Watch videos, cameras or pictures and say who was seen, when, and how sure."""
    if show:
        # Windows hang where PyAV's libraries are loaded before OpenCV's.
        import cv2  # noqa: F401
    from ..sinks.outputs import OutputRequest
    from .run import run_sources

    flags = devices | {
        "tracking.detect_every": detect_every,
        "detector.min_face": min_face,
        "recognition.threshold": threshold,
        "runtime.max_frames": max_frames,
        "runtime.track": track,
        "runtime.follow": 10.0 if follow else None,
        "runtime.isolation": isolation,
        "live.transport": transport,
        "storage.database": db,
        "mqtt.url": mqtt,
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
        watch=watch,
        others=sink or (),
    )
    status = run_sources(
        sources or (),
        outputs,
        gallery=gallery,
        metrics=metrics,
        verbose=verbose,
        config=config,
        flags=flags,
    )
    raise typer.Exit(status)


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
