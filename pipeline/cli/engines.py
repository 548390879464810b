"""``facestream engines``: the flags; the work is in ``plans.py``, imported when called."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import EXAMPLES, Config

if TYPE_CHECKING:
    from facestream.engines.base import Precision

ABOUT = (
    "A plan is a network compiled by TensorRT for one GPU architecture, version and precision. "
    "The pipeline builds those it lacks by itself; here they are built beforehand, looked at and "
    "removed."
)


class PlanPrecisionName(StrEnum):
    """What plans may compute in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


engines_app = typer.Typer(
    name="engines",
    help="TensorRT's compiled networks: build, list, show, clean, verify.",
    epilog=(
        f"{ABOUT}\n\n{EXAMPLES}\n\n"
        "facestream engines build\n\n"
        "facestream engines build --target sm86 --target sm120\n\n"
        "facestream engines verify"
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Folder of the engines. Default: the setting runtime.engine_cache.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME|KEY...]",
        help="Networks by name, or plans by the beginning of their key; none means all.",
        show_default=False,
    ),
]


@engines_app.command(
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream engines build\n\n"
        "facestream engines build vae_encoder --precision bfloat16\n\n"
        "facestream engines build --target sm86 --target sm120   (TensorRT-RTX; needs no GPU)\n\n"
        "Networks: mtcnn_pnet, mtcnn_rnet, mtcnn_onet, vae_encoder, vae_decoder. In float16 and "
        "bfloat16 the input's normalisation, softmax and the log-variance head stay float32."
    )
)
def build(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NETWORK...]", help="Which networks; none means all.", show_default=False
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="SM",
            help="Architecture to build for, e.g. sm86; may be repeated. Default: this machine's "
            "GPU.",
        ),
    ] = None,
    precision: Annotated[
        PlanPrecisionName | None,
        typer.Option(
            "--precision",
            help="Of all networks. Default: float32 for the detector's, float16 for the others.",
        ),
    ] = None,
    cache: Cache = None,
    config: Config = None,
) -> None:
    """Build the plans the pipeline will ask for; those that are there are kept."""
    from .plans import build_plans

    wanted: Precision | None = None if precision is None else precision.value
    raise typer.Exit(
        build_plans(networks or [], target or [], precision=wanted, cache=cache, config=config)
    )


@engines_app.command(
    "list", epilog=f"{EXAMPLES}\n\nfacestream engines list\n\nfacestream engines list --json"
)
def list_(cache: Cache = None, as_json: Json = False, config: Config = None) -> None:
    """Which plans there are, and whether the pipeline still uses them."""
    from .plans import list_plans

    list_plans(cache=cache, config=config, form="json" if as_json else "table")


@engines_app.command(
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream engines show vae_encoder\n\n"
        "facestream engines show 3f9c2b71 --json"
    )
)
def show(
    which: Annotated[
        str,
        typer.Argument(
            metavar="NAME|KEY",
            help="A network, or the beginning of a plan's key.",
            show_default=False,
        ),
    ],
    cache: Cache = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Tensors, profiles and versions of a plan."""
    from .plans import show_plans

    show_plans(which, cache=cache, config=config, form="json" if as_json else "table")


@engines_app.command(
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream engines clean --unused\n\n"
        "facestream engines clean --older 30 --yes\n\n"
        "facestream engines clean vae_encoder"
    )
)
def clean(
    which: Which = None,
    unused: Annotated[
        bool,
        typer.Option(
            "--unused",
            help="Only plans that the pipeline asks for no more: of another network file, "
            "TensorRT version or setting.",
        ),
    ] = False,
    older: Annotated[
        float | None,
        typer.Option("--older", metavar="DAYS", min=0, help="Only plans built so long ago."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cache: Cache = None,
    config: Config = None,
) -> None:
    """Remove plans: all of them, or those that all of the options describe."""
    from .plans import clean_plans

    clean_plans(
        which or [],
        use="unused" if unused else "any",
        older=older,
        ask="never" if yes else "always",
        cache=cache,
        config=config,
    )


@engines_app.command(
    epilog=(
        f"{EXAMPLES}\n\n"
        "facestream engines verify\n\n"
        "facestream engines verify vae_encoder --json\n\n"
        "facestream engines verify --checksums\n\n"
        "The plans' checksums are compared. Then every network is run on everything that can run "
        "it here, and compared with its float32 reference on real faces; plans for other GPUs "
        "are not executed, and said to be so. With names or keys only those plans are looked "
        "at.\n\n"
        "Exit status: 0 all good, 1 a plan is damaged or an engine was refused."
    )
)
def verify(
    which: Which = None,
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Compare checksums alone; run nothing.")
    ] = False,
    cache: Cache = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Compare plans with their checksums, and what runs here with the float32 reference."""
    from .verify import verify_plans

    raise typer.Exit(
        verify_plans(
            which or [],
            run="nothing" if checksums else "all",
            cache=cache,
            config=config,
            form="json" if as_json else "table",
        )
    )
