"""The flags of ``facestream redact``; what it does is in ``redact``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .flags import Config, Gallery, Json, argument, examples, with_devices

REDACT_EPILOG = examples(
    "facestream redact party.mp4 --out covered.mp4",
    "facestream redact party.mp4 --out covered.mp4 --keep 'Ada Lovelace' --keep Alan",
    "facestream redact party.mp4 --out covered.mp4 --only 'Ada Lovelace' --style solid",
    "facestream redact party.mp4 --out covered.mp4 --unknown --json",
    "facestream redact group.jpg --out covered.jpg --keep 'Ada Lovelace'",
    "[bold]Exit status[/bold] 0 done, 1 done but --verify found a face that should be hidden, "
    "2 wrong usage, 130 interrupted (nothing is written)",
)


@with_devices("backend", "device", "precision", "strict_device", "wait_engines", "index")
def redact(
    video: Annotated[Path, argument("VIDEO", "A video file, or a picture.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="File to write; its suffix chooses the container."
        ),
    ],
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="NAME", help="Cover all but this person; repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="Cover this person, and faces that may be theirs; repeatable.",
        ),
    ] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Cover everybody without a name.")
    ] = False,
    show_unsure: Annotated[
        bool,
        typer.Option(
            "--show-unsure", help="With --only: leave faces that show too little to say whose."
        ),
    ] = False,
    style: Annotated[
        Literal["blur", "pixelate", "solid"],
        typer.Option("--style", help="What is put over a face."),
    ] = "blur",
    margin: Annotated[
        float, typer.Option("--margin", metavar="N", help="Width of a cover over that of a face.")
    ] = 1.5,
    min_face: Annotated[
        int, typer.Option("--min-face", metavar="PX", help="Smallest face to look for, in pixels.")
    ] = 20,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            metavar="CRF",
            help="Constant rate factor of the encoder, lower is better. \\[near the source]",
        ),
    ] = None,
    audio: Annotated[bool, typer.Option(help="Keep the sound; voices identify, too.")] = True,
    verify: Annotated[
        int,
        typer.Option(
            "--verify",
            metavar="N",
            help="Search every N-th written frame for faces that should be hidden; 0: none.",
        ),
    ] = 5,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    as_json: Json = False,
    gallery: Gallery = None,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Cover faces in a video or a picture: everybody's, or by who they are.

    A face is covered from before it is found until after it was lost. What is not certain is
    covered. Sound and subtitles are copied; metadata, cover pictures and data streams are left
    out.
    """
    from ..redaction import RedactionChoice, RedactionOptions
    from .redact import redact_file

    options = RedactionOptions(
        choice=RedactionChoice(
            frozenset(keep or ()), frozenset(only or ()), unknown=unknown, show_unsure=show_unsure
        ),
        style=style,
        margin=margin,
        min_face=min_face,
        quality=quality,
        audio=audio,
        verify=verify,
        force=force,
    )
    raise typer.Exit(redact_file(video, out, options, gallery, config, devices, as_json=as_json))
