"""The command line ``facestream-train``: thin; the work is in the packages beside it."""

from __future__ import annotations

import logging
import sys

import typer
from facestream.engines.errors import EngineError

from ..errors import TrainingError
from .compare import compare
from .console import err, listen
from .evaluate import evaluate, fewshot, groups, pose, probe
from .export import cohort, export, golden, ship
from .fit import curves, fit_command, fit_generator_command, resume
from .generate import evaluate_generator, generate, interpolate, reconstruct, repair_command
from .prepare import prepare
from .quantise import quantise

app = typer.Typer(
    name="facestream-train",
    help="Train, evaluate and export facestream's models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(prepare)
app.command("fit")(fit_command)
app.command()(resume)
app.command()(curves)
app.command()(evaluate)
app.command()(pose)
app.command()(export)
app.command()(fewshot)
app.command()(cohort)
app.command()(compare)
app.command("fit-generator")(fit_generator_command)
app.command("evaluate-generator")(evaluate_generator)
app.command()(generate)
app.command()(interpolate)
app.command()(reconstruct)
app.command("repair")(repair_command)
app.command()(probe)
app.command()(groups)
app.command()(quantise)
app.command()(golden)
app.command()(ship)


def main() -> None:
    """Run the command line; exits with 2 on a mistake of the user's, 130 when interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    listen()
    try:
        app()
    except (TrainingError, EngineError) as error:
        err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as ended:
        # Typer's status after Ctrl-C.
        if ended.code == 130:
            err.print(
                "interrupted; an unfinished file is not kept, the last checkpoint is",
                soft_wrap=True,
            )
        raise
