"""The command line ``facestream-train``: thin; the work is in the packages beside it."""

from __future__ import annotations

import logging
import sys

import typer
from facestream.engines.errors import EngineError

from ..errors import TrainingError
from . import interrupts
from .cohort import cohort
from .compare import compare
from .console import err
from .curves import curves
from .evaluate import evaluate
from .export import export
from .fewshot import fewshot
from .fit import fit_command, resume
from .generate import (
    generate,
    interpolate,
    reconstruct,
    repair_command,
)
from .generator import evaluate_generator, fit_generator_command
from .groups import groups
from .pose import pose
from .prepare import prepare
from .probe import probe
from .quantise import quantise
from .ship import golden, ship

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
    interrupts.listen()
    try:
        app()
    except (TrainingError, EngineError) as error:
        err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as ended:
        # What typer makes of Ctrl-C.
        if ended.code == 130:
            err.print(
                "interrupted; an unfinished file is not kept, the last checkpoint is",
                soft_wrap=True,
            )
        raise
