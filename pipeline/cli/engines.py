"""``facestream engines``: build, list, show, clean and verify TensorRT's plans.

The engines are imported inside the functions, so that help comes up quickly.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from .console import confirmed, plural, print_json, say, stdout
from .errors import FAILED
from .flags import Config, Json, Yes, argument, command_group, examples

log = logging.getLogger(__name__)

ABOUT = (
    "A plan is a network compiled by TensorRT for one GPU architecture, version and precision. "
    "The pipeline builds those it lacks by itself; here they are built beforehand, looked at and "
    "removed."
)
engines_app = command_group(
    "engines",
    "TensorRT's compiled networks: build, list, show, clean, verify.",
    epilog=f"{ABOUT}\n\n"
    + examples(
        "facestream engines build",
        "facestream engines build --target sm86 --target sm120",
        "facestream engines verify",
    ),
)

Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Folder of the engines. Default: the setting runtime.engine_cache.",
    ),
]
Which = Annotated[
    list[str] | None,
    argument(
        "[NAME|KEY...]", "Networks by name, or plans by the beginning of their key; none means all."
    ),
]


@engines_app.command(
    epilog=examples(
        "facestream engines build",
        "facestream engines build vae_encoder --precision bfloat16",
        "facestream engines build --target sm86 --target sm120   (TensorRT-RTX; needs no GPU)",
        "Networks: mtcnn_pnet, mtcnn_rnet, mtcnn_onet, vae_encoder, vae_decoder. In float16 and "
        "bfloat16 the input's normalisation, softmax and the log-variance head stay float32.",
    )
)
def build(
    networks: Annotated[
        list[str] | None, argument("[NETWORK...]", "Which networks; none means all.")
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
        Literal["auto", "float32", "float16", "bfloat16"] | None,
        typer.Option(
            "--precision",
            help="Of all networks. Default: float32 for the detector's, float16 for the others.",
        ),
    ] = None,
    cache: Cache = None,
    config: Config = None,
) -> None:
    """Build the plans the pipeline will ask for; those that are there are kept."""
    from facestream.engines.tensorrt.inventory import build_missing, choose_targets

    from ..core.errors import UsageError
    from .plans import Plans, build_progress

    plans = Plans(cache, config)
    known = plans.requests(precision)
    names = list(dict.fromkeys(networks or known))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no network '{unknown[0]}'; there are {', '.join(known)}")
    try:
        where = choose_targets(target or [])
    except ValueError as error:
        raise UsageError(str(error)) from error
    started = time.monotonic()
    with build_progress() as begin:
        built = build_missing(
            plans.store,
            [known[name] for name in names],
            where,
            lambda one, recipe: begin(f"{one.name} {recipe.target} {recipe.precision}"),
        )
    kept = len(names) * len(where.targets) - built
    say(
        f"{plural(built, 'plan')} built in {time.monotonic() - started:.1f} s by "
        f"{where.variant.name} {where.variant.version}, {kept} there already, in "
        f"{plans.store.folder}"
    )


@engines_app.command(
    "list", epilog=examples("facestream engines list", "facestream engines list --json")
)
def list_(cache: Cache = None, as_json: Json = False, config: Config = None) -> None:
    """Which plans there are, and whether the pipeline still uses them."""
    from facestream.engines.tensorrt.inventory import unused_reason

    from .plan_tables import facts_of, overview
    from .plans import Plans

    plans = Plans(cache, config)
    found, faults = plans.store.list()
    if as_json:
        requests = plans.requests()
        rows = [
            {**facts_of(plan), "unused": unused_reason(plan.manifest, requests)} for plan in found
        ]
        print_json({"folder": str(plans.store.folder), "plans": rows, "faults": faults})
        return
    for fault in faults:
        log.warning("%s", fault)
    if found:
        stdout().print(overview(found, plans.requests()))
    else:
        say(f"No plans in {plans.store.folder}: 'facestream engines build' makes them.")


@engines_app.command(
    epilog=examples(
        "facestream engines show vae_encoder", "facestream engines show 3f9c2b71 --json"
    )
)
def show(
    which: Annotated[str, argument("NAME|KEY", "A network, or the beginning of a plan's key.")],
    cache: Cache = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Tensors, profiles and versions of a plan."""
    from .plan_tables import facts_of, portrait
    from .plans import Plans

    plans = Plans(cache, config)
    found = plans.select([which])
    if as_json:
        print_json([facts_of(plan) for plan in found])
        return
    for plan in found:
        stdout().print(*portrait(plan, plans.requests()), sep="\n")


@engines_app.command(
    epilog=examples(
        "facestream engines clean --unused",
        "facestream engines clean --older 30 --yes",
        "facestream engines clean vae_encoder",
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
    yes: Yes = False,
    cache: Cache = None,
    config: Config = None,
) -> None:
    """Remove plans: all of them, or those that all of the options describe."""
    from datetime import UTC, datetime, timedelta

    from facestream.engines.tensorrt.inventory import unused_reason

    from .plans import Plans

    plans = Plans(cache, config)
    found = plans.select(which) if which else plans.store.list()[0]
    if unused:
        requests = plans.requests()
        found = [plan for plan in found if unused_reason(plan.manifest, requests)]
    if older is not None:
        latest = datetime.now(UTC) - timedelta(days=older)
        found = [plan for plan in found if plan.manifest.created_at <= latest]
    size = sum(plan.manifest.size for plan in found) / 2**20
    what = f"{plural(len(found), 'plan')} ({size:.1f} MiB) in {plans.store.folder}"
    if found and not yes and not confirmed(f"Remove {what}?", doing="removing plans"):
        say("Nothing was removed.")
        return
    for plan in found:
        plans.store.discard(plan.manifest.key)
    rest = plans.store.sweep()
    say(f"Removed {what}" + (f" and {rest / 2**20:.1f} MiB of remains" if rest else ""))


@engines_app.command(
    epilog=examples(
        "facestream engines verify",
        "facestream engines verify vae_encoder --json",
        "facestream engines verify --checksums",
        "The plans' checksums are compared. Then every network is run on everything that can run "
        "it here, and compared with its float32 reference on real faces; plans for other GPUs "
        "are not executed, and said to be so. With names or keys only those plans are looked "
        "at.",
        "Exit status: 0 all good, 1 a plan is damaged or an engine was refused.",
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
    from .plan_tables import check_table
    from .plans import Plans

    plans = Plans(cache, config)
    checked = plans.check(which or [], execute=not checksums)
    engines = [] if checksums or which else plans.check_engines()
    bad, refused = (sum(one.state != "ok" for one in rows) for rows in (checked, engines))
    if as_json:
        rows = {"plans": checked, "engines": engines}
        lists = {name: [asdict(one) for one in row] for name, row in rows.items()}
        print_json({"folder": str(plans.store.folder), **lists})
    else:
        if checked:
            executed = sum(bool(one.figures) for one in checked)
            stdout().print(check_table("Plan", checked))
            say(f"{plural(len(checked), 'plan')}: {executed} executed, {bad} damaged or refused")
        else:
            say(f"No plans in {plans.store.folder}.")
        if engines:
            stdout().print(check_table("Engine that runs here", engines))
            say(f"{plural(len(engines), 'engine')} executed, {refused} refused")
    raise typer.Exit(FAILED if bad or refused else 0)
