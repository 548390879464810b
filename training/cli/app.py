"""The command line ``facestream-train``: thin; the work is in the packages beside it."""

from __future__ import annotations

import logging
import sys

import typer
from facestream.engines.errors import EngineError

from ..errors import TrainingError
from .console import err
from .evaluate import evaluate
from .export import export
from .fit import fit_command, resume

app = typer.Typer(
    name="facestream-train",
    help="Train, evaluate and export facestream's models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("fit")(fit_command)
app.command()(resume)
app.command()(evaluate)
app.command()(export)


def main() -> None:
    """Run the command line; exits with 2 on a mistake of the user's, 130 when interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except (TrainingError, EngineError) as error:
        err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("interrupted; the last checkpoint is kept")
        sys.exit(130)
