"""``facestream demo``: the main job on real pictures that come with the install."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .console import stdout
from .flags import examples

demo_app = typer.Typer()

PERSON = "Eileen Collins"


@demo_app.command(epilog=examples("facestream demo", "facestream demo --out /tmp/demo"))
def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for the clip, the gallery and the results."
        ),
    ] = Path("demo"),
) -> None:
    """Enrol someone, watch a clip, and show who was seen.

    The portraits are in the public domain (NASA, U.S. Navy). One of the two people is enrolled
    from her photo; the clip pans over both, with zoom, rotation, noise and changing light: one
    must be named, the other must stay unknown.
    """
    from ..detection.portraits import portraits
    from ..gallery import Gallery
    from ..sinks.files import make_folder
    from ..sinks.locks import OutputLock
    from ..sinks.outputs import OutputRequest
    from .demo_clip import write_clip
    from .run import run_sources

    folder = make_folder(out)
    console = stdout()
    clip, people = folder / "clip.mp4", folder / "gallery.sqlite"
    with OutputLock(clip):
        console.print(f"[bold]1.[/bold] Rendering {escape(str(clip))} from two portraits")
        write_clip(clip)
        console.print(f"[bold]2.[/bold] Enrolling {PERSON} from one photo")
        people.unlink(missing_ok=True)
        with Gallery(people) as gallery:
            gallery.add(PERSON, portraits()[0].image)
        command = f"facestream run {clip} --gallery {people} --out {folder}"
        console.print(f"[bold]3.[/bold] {escape(command)}", soft_wrap=True)
        raise typer.Exit(run_sources([str(clip)], OutputRequest(out=folder), gallery=people))
