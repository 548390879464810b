"""``generate``, ``interpolate``, ``reconstruct``, ``repair`` and ``evaluate-generator``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.images import SourceType, read_image

from ..errors import DataError, TrainingError
from ..generation.generator_report import (
    GeneratorReport,
    held_out_faces,
    measure_reconstruction,
    measure_repair,
    measure_samples,
)
from ..generation.generator_views import read_held_out
from ..generation.holes import Hole, Region, region_hole
from ..generation.photos import PhotoFace, aligned_face, read_faces
from ..generation.repair import RepairOptions, repair
from ..generation.synthesis import SHIPPED, Synthesis
from ..generation.synthetic_pictures import Picture, grid, save_synthetic
from ..record import write_json
from .console import (
    SFACE,
    TRAIN,
    DataOption,
    GeneratorOption,
    RecogniserOption,
    ReportOption,
    SeedOption,
    TeacherOption,
    folder,
    progress_bars,
    show,
    shown,
)

AlignedOption = Annotated[
    bool, typer.Option("--aligned", help="The pictures are aligned 112×112 faces already.")
]
EachOption = Annotated[
    Path | None, typer.Option("--each", help="Folder for each picture by itself.")
]
COLUMNS = 8


class RegionName(StrEnum):
    """Parts of a face; left and right as seen in the picture."""

    MOUTH = "mouth"
    EYES = "eyes"
    LOWER = "lower"
    UPPER = "upper"
    LEFT = "left"
    RIGHT = "right"


def generate(
    out: Annotated[Path, typer.Option(help="The grid, .png or .jpg.")] = Path("generated.png"),
    count: Annotated[int, typer.Option(min=1, max=1024, help="How many faces.")] = 16,
    like: Annotated[
        Path | None, typer.Option(help="A photo: other pictures of the same identity.")
    ] = None,
    truncation: Annotated[
        float, typer.Option(min=0.1, max=1.5, help="Less is more ordinary, and cleaner.")
    ] = 0.8,
    seed: SeedOption = 0,
    each: EachOption = None,
    model: GeneratorOption = SHIPPED,
    encoder: RecogniserOption = None,
    aligned: AlignedOption = False,
) -> None:
    """Make faces of nobody, or variations of one identity; all are marked as synthetic.

    Example: facestream-train generate --count 32 --like photo.jpg --out variations.png
    """
    with Synthesis(model=model, encoder=encoder) as synthesis:
        if like is None:
            faces = synthesis.samples(count, seed=seed, truncation=truncation)
        else:
            (face,) = _faces([like], aligned)
            faces = synthesis.variations(face.crop, count, seed=seed, truncation=truncation)
    _save([*faces], out, each, stem="sample" if like is None else like.stem)


def interpolate(
    a: Annotated[Path, typer.Argument(help="A photo.")],
    b: Annotated[Path, typer.Argument(help="Another.")],
    out: Annotated[Path, typer.Option(help="The row of faces, .png or .jpg.")] = Path(
        "interpolated.png"
    ),
    steps: Annotated[int, typer.Option(min=2, max=64, help="Faces, both ends included.")] = 8,
    each: EachOption = None,
    model: GeneratorOption = SHIPPED,
    encoder: RecogniserOption = None,
    aligned: AlignedOption = False,
) -> None:
    """Go from one face to another in the space of codes.

    Example: facestream-train interpolate anna.jpg ben.jpg --steps 10
    """
    first, second = _faces([a, b], aligned)
    with Synthesis(model=model, encoder=encoder) as synthesis:
        faces = synthesis.interpolation(first.crop, second.crop, steps)
    _save([*faces], out, each, stem=f"{a.stem}_{b.stem}", columns=steps)


def reconstruct(
    photos: Annotated[list[Path], typer.Argument(help="Photos, one face each.")],
    out: Annotated[Path, typer.Option(help="Faces above, reconstructions below.")] = Path(
        "reconstructed.png"
    ),
    each: EachOption = None,
    model: GeneratorOption = SHIPPED,
    encoder: RecogniserOption = None,
    aligned: AlignedOption = False,
) -> None:
    """Encode faces and decode them again.

    Example: facestream-train reconstruct photos/*.jpg
    """
    crops = [face.crop for face in _faces(photos, aligned)]
    with Synthesis(model=model, encoder=encoder) as synthesis:
        made = [*synthesis.reconstructions(np.stack(crops))]
    rows: list[list[Picture]] = []
    for start in range(0, len(crops), COLUMNS):
        rows += [crops[start : start + COLUMNS], made[start : start + COLUMNS]]
    _write(out, grid(rows), "compositeWithTrainedAlgorithmicMedia")
    _each(made, each, [photo.stem for photo in photos])
    typer.echo(f"{out}: {len(made)} faces and their reconstructions, marked as synthetic")


def repair_command(
    photo: Annotated[Path, typer.Argument(help="A photo with a damaged or covered face.")],
    out: Annotated[
        Path | None, typer.Option(help="The repaired face; PHOTO_repaired.png if not given.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Picture of the photo's size, white where to repair.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(help="x1,y1,x2,y2 in pixels of the photo: what to repair.")
    ] = None,
    region: Annotated[RegionName | None, typer.Option(help="A part of the face.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Write the whole photo with the repair in it.")
    ] = False,
    steps: Annotated[
        int, typer.Option(min=0, max=2000, help="Of the search; 0 takes the first guess.")
    ] = RepairOptions().steps,
    model: GeneratorOption = SHIPPED,
    encoder: RecogniserOption = None,
    aligned: AlignedOption = False,
) -> None:
    """Fill a hole in a face with what fits the rest; the result is marked as synthetic.

    What is filled in is a guess: it is never enrolled or matched.

    Example: facestream-train repair photo.jpg --region mouth
    """
    if sum(way is not None for way in (mask, box, region)) != 1:
        raise TrainingError("say what to repair with exactly one of --mask, --box and --region")
    (face,) = _faces([photo], aligned)
    hole = _hole(face, mask=mask, box=box, region=region)
    with Synthesis(model=model, encoder=encoder) as synthesis, progress_bars() as progress:
        made = repair(
            synthesis,
            face.crop[None],
            hole[None],
            options=RepairOptions(steps=steps),
            progress=progress,
        )[0]
    target = out or photo.with_name(f"{photo.stem}_repaired.png")
    whole = face.put_back(made, hole)[:, :, ::-1] if in_place else made
    _write(target, np.ascontiguousarray(whole), "compositeWithTrainedAlgorithmicMedia")
    share = hole.mean()
    typer.echo(f"{target}: {share:.0%} of the face filled in by guess, marked as synthetic")


def evaluate_generator(
    model: GeneratorOption = SHIPPED,
    encoder: RecogniserOption = None,
    data: DataOption = TRAIN,
    teacher: TeacherOption = SFACE,
    out: ReportOption = Path("runs/evaluate-generator"),
    pictures: Annotated[int, typer.Option(min=8, help="Held-out pictures.")] = 300,
    repairs: Annotated[int, typer.Option(min=2, help="Of them, how many are repaired.")] = 96,
    samples: Annotated[
        int, typer.Option(min=0, help="For the Fréchet distance; 0 leaves it out.")
    ] = 600,
    steps: Annotated[
        int, typer.Option(min=0, help="Of a repair's search.")
    ] = RepairOptions().steps,
) -> None:
    """Measure a generator on held-out people: reconstruction, repair, Fréchet distance.

    Example: facestream-train evaluate-generator --model runs/generator/last.pt
    """
    with progress_bars() as progress, Synthesis(model=model, encoder=encoder) as synthesis:
        faces, _ = read_held_out(data, held_out_faces(data, pictures))
        report = GeneratorReport(str(model), synthesis.encoder.model_id, len(faces))
        report.figures |= measure_reconstruction(synthesis, faces)
        if samples:
            both, _ = read_held_out(data, held_out_faces(data, 2 * samples))
            half = len(both) // 2
            # Every second one: the list is sorted by set.
            report.frechet = measure_samples(
                synthesis, both[0 : 2 * half : 2], both[1 : 2 * half : 2], teacher=teacher
            )
        # The costly part comes last, and what was measured before it is kept.
        write_json(out / "report.json", report.as_json())
        chosen = faces[:: max(1, len(faces) // repairs)][:repairs]
        options = RepairOptions(steps=steps)
        report.figures |= measure_repair(synthesis, chosen, options=options, progress=progress)
    write_json(out / "report.json", report.as_json())
    rows = [(name, shown(value, ".3f")) for name, value in report.figures.items()]
    rows += [(f"Fréchet, {name}", f"{value:.1f}") for name, value in report.frechet.items()]
    show(f"{model}, {len(faces)} pictures", ("figure", "mean (95 % interval)"), rows)


def _faces(paths: list[Path], aligned: bool) -> list[PhotoFace]:
    return [aligned_face(path) for path in paths] if aligned else read_faces(paths)


def _hole(
    face: PhotoFace, *, mask: Path | None, box: str | None, region: RegionName | None
) -> Hole:
    if region is not None:
        name: Region = region.value
        return region_hole(name)
    height, width = face.photo.shape[:2]
    marked = np.zeros((height, width), np.uint8)
    if box is not None:
        try:
            x1, y1, x2, y2 = (round(float(number)) for number in box.split(","))
        except ValueError:
            raise TrainingError(f"--box wants x1,y1,x2,y2, not {box!r}") from None
        marked[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 1
    elif mask is not None:
        try:
            picture = read_image(mask).max(axis=2)
        except ImageError as error:
            raise DataError(f"the mask {mask} cannot be used: {error}") from error
        if picture.shape != marked.shape:
            raise DataError(
                f"the mask {mask} is {picture.shape[1]}×{picture.shape[0]}, the photo "
                f"{width}×{height}; they must be of one size"
            )
        marked = (picture > 127).astype(np.uint8)
    hole = face.hole_of(marked)
    if not hole.any() or hole.all():
        raise TrainingError(
            "what is to be repaired must cover a part of the face, and leave a part of it"
        )
    return hole


def _save(
    faces: list[Picture], out: Path, each: Path | None, *, stem: str, columns: int = COLUMNS
) -> None:
    rows = [faces[start : start + columns] for start in range(0, len(faces), columns)]
    _write(out, grid(rows), "trainedAlgorithmicMedia")
    _each(faces, each, [f"{stem}_{i:03d}" for i in range(len(faces))])
    typer.echo(f"{out}: {len(faces)} faces, marked as synthetic")


def _each(faces: list[Picture], each: Path | None, names: list[str]) -> None:
    if each is not None:
        for face, name in zip(faces, names, strict=True):
            save_synthetic(folder(each) / f"{name}.png", face)


def _write(path: Path, picture: Picture, source: SourceType) -> None:
    folder(path.parent)
    save_synthetic(path, picture, source=source)
