"""``facestream gallery``: adding and listing people; ``gallery_edit`` has the other commands.

The database and the networks are imported inside the functions, so that help comes up quickly.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from .console import plural, print_json, say, stdout, table
from .flags import NETWORKS, Config, Json, argument, command_group, examples, with_devices
from .photo_flags import Strict, Taken, ValidFrom, ValidUntil, note_line, photo_dates

if TYPE_CHECKING:
    from ..core.config import Settings
    from ..core.location import Location
    from ..gallery import Gallery, PhotoResult
    from ..gallery.transfer import Trust
    from ..storage.database import Create

log = logging.getLogger(__name__)

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

gallery_app = command_group(
    "gallery",
    "The people who can be recognised: add, import, list, show, check, merge, remove, export.",
    epilog=examples(
        "facestream gallery add 'Ada Lovelace' ada1.jpg ada2.jpg",
        "facestream gallery import people/ --gallery friends.db",
        "facestream gallery list",
    ),
)

GalleryPath = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        "-g",
        "--db",
        metavar="FILE|URL",
        help="The gallery's file, or a database of sightings, which holds the people too. "
        "Default: one in your user data folder.",
    ),
]
Name = Annotated[str, argument("NAME", "The person.")]


@gallery_app.command(
    epilog=examples(
        "facestream gallery add 'Ada Lovelace' ada1.jpg ada2.jpg",
        "facestream gallery add Ada photos/of/ada/",
        "facestream gallery add Ada ada-2019.jpg --taken 2019-06-01 --valid-until 2022-06-01",
        "facestream gallery add Ada --db house.db --from-sighting 5f1c0a9e",
        REASONS,
        STATUS,
    )
)
@with_devices(*NETWORKS)
def add(
    name: Name,
    photos: Annotated[
        list[Path] | None, argument("PHOTO...", "Picture files, or folders of them.")
    ] = None,
    strict: Strict = False,
    taken: Taken = None,
    valid_from: ValidFrom = None,
    valid_until: ValidUntil = None,
    from_sighting: Annotated[
        list[str] | None,
        typer.Option(
            "--from-sighting",
            metavar="ID",
            help="Take the face of this sighting of the database, if it is surely the person and "
            "shows something new. May be given several times.",
        ),
    ] = None,
    gallery: GalleryPath = None,
    as_json: Json = False,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Add photos of a person; the gallery and the person are made when they are new."""
    from ..core.errors import UsageError
    from ..gallery.faces import expand_photos
    from ..storage.names import normalise_name
    from .enrolment import enrol

    name, sightings = normalise_name(name), from_sighting or []
    files, notes = expand_photos(photos or [])
    if not files and not sightings:
        raise UsageError("; ".join([*notes, "give picture files or a folder of them"]))
    dates, settings = photo_dates(taken, valid_from, valid_until), settings_of(config)
    with opened(gallery, config, devices, create="if_missing") as people:
        rules = people.enrolment_rules(strict=strict, dates=dates, recognition=settings.recognition)
        steps: Iterator[tuple[str, PhotoResult]] = (
            (name, result) for result in people.iter_add(name, files, rules)
        )
        if sightings:
            steps = chain(steps, _learned(people.location, name, sightings, settings))
        status = enrol(
            people,
            steps,
            total=len(files) + len(sightings),
            notes=notes,
            as_json=as_json,
            settings=settings,
            given=gallery,
        )
        path = people.location
    name_past_sightings(path, [name], config, as_json=as_json)
    raise typer.Exit(status)


def _learned(
    location: Location, name: str, ids: Sequence[str], settings: Settings
) -> Iterator[tuple[str, PhotoResult]]:
    """The faces of sightings of the gallery's database become photos."""
    from ..sightings import Sightings
    from ..sightings.enrolment import learn_sightings

    with Sightings(location) as sightings:
        for result in learn_sightings(sightings, settings, name, ids):
            yield name, result


@gallery_app.command(
    "import",
    epilog=examples(
        "facestream gallery import people/   (people/ada/1.jpg, people/ada/2.jpg, people/bob/…)",
        "facestream gallery import known/ --files   (known/ada.jpg, known/bob.jpg)",
        "facestream gallery import backup/   (made by 'facestream gallery export backup/')",
        REASONS,
        STATUS,
    ),
)
@with_devices(*NETWORKS)
def import_(
    folder: Annotated[
        Path, argument("DIR", "A folder with a folder for each person, or an export.")
    ],
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="NAME",
            help="Leave out this folder or file of DIR. May be given several times.",
        ),
    ] = None,
    files: Annotated[
        bool,
        typer.Option(
            "--files", help="Pictures in DIR itself are people, too, named like the file."
        ),
    ] = False,
    trust_embeddings: Annotated[
        bool,
        typer.Option(
            "--trust-embeddings",
            help="Take the embeddings of an export instead of computing them from its faces. Only "
            "for exports that you made: an embedding can be of another person than the face.",
        ),
    ] = False,
    strict: Strict = False,
    gallery: GalleryPath = None,
    as_json: Json = False,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Add many people: a folder for each, named like the person. Can be run again."""
    from ..gallery import ImportPlan, plan_import
    from ..gallery.transfer import is_export, read_export
    from .enrolment import enrol

    exported = is_export(folder)
    if exported:
        plan = ImportPlan(())
        total = sum(len(person.photos) for person in read_export(folder).people)
    else:
        plan = plan_import(folder, skip=skip or (), files=files)
        total = plan.photos
    with opened(gallery, config, devices, create="if_missing") as people:
        recognition = settings_of(config).recognition
        rules = people.enrolment_rules(strict=strict, recognition=recognition)
        if exported:
            trust: Trust = "embeddings" if trust_embeddings else "nothing"
            steps = people.iter_restore(folder, trust=trust, rules=rules)
        else:
            steps = people.iter_import(plan, rules)
        notes, refused = plan.notes, plan.refused
        status = enrol(
            people,
            steps,
            total=total,
            notes=notes,
            refused=refused,
            as_json=as_json,
            settings=settings_of(config),
            given=gallery,
        )
        path, names = people.location, [person.name for person in people.people()]
    name_past_sightings(path, names, config, as_json=as_json)
    raise typer.Exit(status)


@gallery_app.command(
    "list", epilog=examples("facestream gallery list", "facestream gallery list --json")
)
def list_(gallery: GalleryPath = None, as_json: Json = False, config: Config = None) -> None:
    """Who is in the gallery."""
    from ..core.config import default_gallery_path
    from ..core.location import locate
    from ..storage.names import printable

    if gallery is not None or default_gallery_path().exists():
        with opened(gallery, config) as store:
            people = store.people()
    else:
        settings_of(config)  # a mistake in them is one here, too
        people = []
    if as_json:
        print_json([person.to_dict() for person in people])
    elif not people:
        where = printable(str(default_gallery_path() if gallery is None else locate(gallery)))
        say(f"The gallery {where} is empty: 'facestream gallery add NAME PHOTO' adds someone.")
    else:
        shown = table("Name", "Photos", "Since")
        for person in people:
            photos = f"{person.photos}, {person.aside} set aside" if person.aside else None
            shown.add_row(
                Text(printable(person.name)),
                photos or str(person.photos),
                f"{person.created_at:%Y-%m-%d}",
            )
        stdout().print(shown)


@gallery_app.command(epilog=examples("facestream gallery show 'Ada Lovelace'"))
def show(
    name: Name, gallery: GalleryPath = None, as_json: Json = False, config: Config = None
) -> None:
    """A person's photos."""
    from ..storage.names import printable

    with opened(gallery, config) as people:
        person, photos = people.person(name), people.photos(name)
    if as_json:
        print_json({**person.to_dict(), "photos": [photo.to_dict() for photo in photos]})
        return
    shown = table("No", "Photo", "Picture", "Face", "Score", "Added", right=("No",))
    shown.title = Text(printable(person.name))
    for photo in photos:
        width, height = photo.box[2:] - photo.box[:2]
        shown.add_row(
            str(photo.id),
            Text(printable(photo.path)),
            f"{photo.width}×{photo.height}",
            f"{width:.0f}×{height:.0f}",
            f"{photo.score:.3f}",
            f"{photo.created_at:%Y-%m-%d %H:%M}",
        )
    stdout().print(shown)
    for photo in photos:
        if line := note_line(photo.notes):
            say(f"Photo {photo.id}: {line}")
    for one in person.merged:
        say(f"'{printable(one.name)}' (person {one.id}) was merged in on {one.at:%Y-%m-%d}.")


@gallery_app.command(
    epilog=examples(
        "facestream gallery export backup/",
        "facestream gallery import backup/ --gallery other.db",
        "[bold]Files[/bold]: gallery.json (people and photos), crops/ (a PNG of 112×112 per "
        "photo), embeddings.npz (photo_id, mu, logvar, model_id)",
    )
)
def export(
    folder: Annotated[Path, argument("DIR", "A new or an empty folder.")],
    gallery: GalleryPath = None,
    config: Config = None,
) -> None:
    """Write everything to a folder of plain files, which 'import' reads."""
    from ..storage.names import printable

    with opened(gallery, config) as store:
        people = store.export(folder).people
    count = "1 person" if len(people) == 1 else f"{len(people):,} people"
    photos = plural(sum(len(person.photos) for person in people), "photo")
    say(f"Exported {count} with {photos} to {printable(str(folder))}.")


@gallery_app.command("re-embed", epilog=examples("facestream gallery re-embed -g friends.db"))
@with_devices(*NETWORKS)
def re_embed(
    gallery: GalleryPath = None, config: Config = None, *, devices: dict[str, Any]
) -> None:
    """Embed the kept faces again, after an upgrade that brought another model."""
    from .progress import show_count

    with opened(gallery, config, devices) as people, show_count("faces", None) as show:
        before = people.model_id
        count = people.re_embed(progress=lambda done, total: show(done, total=total))
        after = people.model_id
    if count == 0 and before == after:
        say(f"Nothing to do: all embeddings are of the model '{after}'.")
    else:
        say(f"Embedded {plural(count, 'photo')} with the model '{after}'.")


def name_past_sightings(
    path: Location, names: Sequence[str], config: Path | None, *, as_json: bool = False
) -> None:
    """Look for people who were enrolled among the sightings that have no name yet."""
    from ..core.errors import PersonNotFound
    from ..sightings import Sightings
    from ..sightings.corrections import Corrections
    from .progress import show_count

    with Sightings(path) as sightings:
        if not sightings.any():
            return
        corrections = Corrections(sightings, settings_of(config))
        with show_count("sightings", None) as progress:
            try:
                named = corrections.reidentify(names, progress=progress)
            except PersonNotFound:  # no photo of theirs could be used
                return
    if named and not as_json:
        say(f"Named {plural(named, 'past sighting')}; 'facestream undo' takes that back.")


def settings_of(config: Path | None, devices: Mapping[str, Any] | None = None) -> Settings:
    """The settings of ``--config``, the environment and flags."""
    from ..core.config import load_settings

    settings = load_settings(file=config, environment=os.environ, flags=devices or {})
    settings.storage.apply()
    return settings


@contextmanager
def opened(
    path: str | None,
    config: Path | None,
    devices: Mapping[str, Any] | None = None,
    *,
    create: Create = "never",
) -> Iterator[Gallery]:
    """The gallery of ``--gallery``; which one it was is logged at the end where none was given."""
    from ..analysis import FaceAnalyzer
    from ..gallery import Gallery

    with (
        FaceAnalyzer(settings_of(config, devices)) as reader,
        Gallery(path, create=create, reader=reader) as people,
    ):
        yield people
    if path is None:
        log.info("used the gallery %s", people.location)
