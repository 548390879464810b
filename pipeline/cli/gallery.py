"""``facestream gallery``: the flags; the work is in ``people.py``, imported when called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .flags import EXAMPLES, NETWORKS, Config, Form, Json, with_devices

if TYPE_CHECKING:
    from .people import GalleryRequest

STATUS = (
    "Exit status: 0 all photos are in, 3 some were rejected, 2 none could be used, "
    "130 interrupted. What is reported as added is on the disk."
)
REASONS = (
    "Rejected are photos with no_face, with several_faces (faces in the background, less than a "
    "third as wide as the main one, do not count), with a face that is too_small (below 40 "
    "pixels), unreadable files, pictures marked as synthetic, and photos kept for an other_person "
    "already. A duplicate is only noted."
)

gallery_app = typer.Typer(
    name="gallery",
    help="The people who can be recognised: add, import, list, show, remove, rename, export.",
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream gallery add 'Ada Lovelace' ada1.jpg ada2.jpg\n\n"
        "facestream gallery import people/ --gallery friends.db\n\n"
        "facestream gallery list"
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

GalleryPath = Annotated[
    Path | None,
    typer.Option(
        "--gallery",
        "-g",
        metavar="PATH",
        help="The gallery's file. Default: one in your user data folder.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The person.", show_default=False)]


@gallery_app.command(
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream gallery add 'Ada Lovelace' ada1.jpg ada2.jpg\n\n"
        "facestream gallery add Ada photos/of/ada/\n\n"
        f"{REASONS}\n\n{STATUS}"
    )
)
@with_devices(*NETWORKS)
def add(
    name: Name,
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO...", help="Picture files, or folders of them.", show_default=False
        ),
    ],
    gallery: GalleryPath = None,
    as_json: Json = False,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Add photos of a person; the gallery and the person are made when they are new."""
    from .people import add_photos

    raise typer.Exit(
        add_photos(_request(gallery, config, devices), name, photos, form=_form(as_json))
    )


@gallery_app.command(
    "import",
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream gallery import people/   (people/ada/1.jpg, people/ada/2.jpg, people/bob/…)\n\n"
        "facestream gallery import backup/   (made by 'facestream gallery export backup/')\n\n"
        f"{REASONS}\n\n{STATUS}"
    ),
)
@with_devices(*NETWORKS)
def import_(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A folder with a folder for each person, or an export.",
            show_default=False,
        ),
    ],
    gallery: GalleryPath = None,
    as_json: Json = False,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Add many people: a folder for each, named like the person. Can be run again."""
    from .people import import_people

    raise typer.Exit(import_people(_request(gallery, config, devices), folder, form=_form(as_json)))


@gallery_app.command(
    "list", epilog=f"{EXAMPLES}\n\nfacestream gallery list\n\nfacestream gallery list --json"
)
def list_(gallery: GalleryPath = None, as_json: Json = False, config: Config = None) -> None:
    """Who is in the gallery."""
    from .people import list_people

    list_people(_request(gallery, config), form=_form(as_json))


@gallery_app.command(epilog=f"{EXAMPLES}\n\nfacestream gallery show 'Ada Lovelace'")
def show(
    name: Name, gallery: GalleryPath = None, as_json: Json = False, config: Config = None
) -> None:
    """A person's photos."""
    from .people import show_person

    show_person(_request(gallery, config), name, form=_form(as_json))


@gallery_app.command(
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream gallery remove 'Ada Lovelace'\n\n"
        "facestream gallery remove Ada --yes   (in scripts)"
    )
)
def remove(
    name: Name,
    gallery: GalleryPath = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: Config = None,
) -> None:
    """Remove a person with all photos and embeddings."""
    from .people import remove_person

    remove_person(_request(gallery, config), name, ask="never" if yes else "always")


@gallery_app.command(epilog=f"{EXAMPLES}\n\nfacestream gallery rename ada 'Ada Lovelace'")
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The person.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.", show_default=False)],
    gallery: GalleryPath = None,
    config: Config = None,
) -> None:
    """Give a person another name."""
    from .people import rename_person

    rename_person(_request(gallery, config), old, new)


@gallery_app.command(
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream gallery export backup/\n\n"
        "facestream gallery import backup/ --gallery other.db\n\n"
        "[bold]Files[/bold]: gallery.json (people and photos), crops/ (a PNG of 112×112 per "
        "photo), embeddings.npz (photo_id, mu, logvar, model_id)"
    )
)
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new or an empty folder.", show_default=False)
    ],
    gallery: GalleryPath = None,
    config: Config = None,
) -> None:
    """Write everything to a folder of plain files, which 'import' reads."""
    from .people import export_gallery

    export_gallery(_request(gallery, config), folder)


@gallery_app.command("re-embed", epilog=f"{EXAMPLES}\n\nfacestream gallery re-embed -g friends.db")
@with_devices(*NETWORKS)
def re_embed(
    gallery: GalleryPath = None, config: Config = None, *, devices: dict[str, Any]
) -> None:
    """Embed the kept faces again, after an upgrade that brought another model."""
    from .people import re_embed_gallery

    re_embed_gallery(_request(gallery, config, devices))


def _request(
    gallery: Path | None, config: Path | None, devices: dict[str, Any] | None = None
) -> GalleryRequest:
    from .people import GalleryRequest

    return GalleryRequest(gallery, config, devices or {})


def _form(as_json: bool) -> Form:
    return "json" if as_json else "table"
