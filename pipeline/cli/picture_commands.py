"""The flags of ``facestream identify`` and ``embed``; what they do is in the modules of these
names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .flags import NETWORKS, Config, MinFace, Threshold, argument, examples, with_devices
from .gallery import GalleryPath

IDENTIFY_EPILOG = examples(
    "facestream identify group.jpg", "facestream identify *.jpg --json --gallery friends.db"
)
EMBED_EPILOG = examples(
    "facestream embed photos/ --out faces.npz",
    "find / -name '*.jpg' | facestream embed - --out all.npz --largest",
    "[bold]Arrays[/bold] (N faces; with --largest a row per picture, in the order given)",
    "path (N), box (N×4), score (N), landmarks (N×5×2), embedding (N×D, length 1), "
    "sigma (N), logvar (N×D); unreadable and unreadable_reason; model",
)


@with_devices(*NETWORKS, "index")
def identify(
    images: Annotated[list[Path], argument("IMAGE...", "Picture files or folders of them.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array with an object per picture.")
    ] = False,
    gallery: GalleryPath = None,
    min_face: MinFace = None,
    threshold: Threshold = None,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Say who is in pictures: faces, names, similarities, boxes."""
    from .identify import identify_images

    flags = devices | {"detector.min_face": min_face, "recognition.threshold": threshold}
    raise typer.Exit(
        identify_images(images, gallery=gallery, as_json=as_json, config=config, flags=flags)
    )


@with_devices(*NETWORKS)
def embed(
    paths: Annotated[
        list[str],
        argument(
            "PATH...", "Picture files or folders; - reads a list of paths, one a line, from stdin."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="File to write.")],
    largest: Annotated[
        bool,
        typer.Option(
            "--largest",
            help="Keep the largest face of each picture; a picture without one has a row of NaN "
            "with score 0.",
        ),
    ] = False,
    min_face: MinFace = None,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Turn the faces in pictures into embeddings, for many pictures at once."""
    from .embed import embed_paths

    flags = devices | {"detector.min_face": min_face}
    keep: Literal["largest", "all"] = "largest" if largest else "all"
    raise typer.Exit(embed_paths(paths, out=out, keep=keep, config=config, flags=flags))
