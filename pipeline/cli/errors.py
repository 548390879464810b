"""From exceptions to one line on standard error and an exit status."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from contextlib import suppress

import typer
from facestream.engines.errors import BackendUnavailable, EngineError, ParityRefused

from ..core.errors import FacestreamError, OutputError, StageFailed, UsageError
from .console import harmless, logging_restored, safe_streams

# What a write raises where output cannot go on: it is no bug.
_NO_OUTPUT = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

FAILED, WRONG_USAGE, BAD_INPUT, INTERRUPTED = 1, 2, 3, 130

# Typer's own errors: the base class has another name in each of its generations.
_PARSER_ERRORS = tuple(
    kind
    for kind in typer.BadParameter.__mro__
    if hasattr(kind, "format_message") and issubclass(kind, Exception)
)


def guarded(app: typer.Typer, arguments: list[str] | None) -> int:
    """Run the command line.

    A mistake of the user, or asking for what cannot serve here, is one line and status 2; a
    failing stage or engine is one line and status 1, with the traceback under ``--debug``.
    Anything else is a bug and keeps its traceback.
    """
    with safe_streams(), logging_restored():
        return _run(app, arguments)


def _run(app: typer.Typer, arguments: list[str] | None) -> int:
    try:
        status = app(args=arguments, prog_name="facestream", standalone_mode=False)
        sys.stdout.flush()
    except _PARSER_ERRORS as error:
        return _parser_error(error)
    except (UsageError, BackendUnavailable, ParityRefused) as error:
        return _complain(str(error), WRONG_USAGE)
    except StageFailed as error:
        # Where the output ended (a full disk, | head) the stage's name explains nothing.
        cause = error.__cause__
        return _complain(str(cause if isinstance(cause, OutputError) else error), FAILED)
    except (FacestreamError, EngineError) as error:
        return _complain(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except OSError as error:
        if error.errno not in _NO_OUTPUT:
            raise
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            try:
                stream.flush()
            except OSError:
                # Python would complain again when it flushes the stream at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        if isinstance(error, BrokenPipeError):
            return FAILED  # the reader of our output closed it (| head)
        return _complain(f"cannot write the output: {error.strerror}", FAILED)
    return status if isinstance(status, int) else 0


def _parser_error(error: Exception) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        return WRONG_USAGE  # the help was printed
    context = getattr(error, "ctx", None)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    where = context.command_path if context is not None else "facestream"
    line = " ".join(message.split()).rstrip(".")
    return _complain(f"{line} (see '{where} --help')", WRONG_USAGE)


def _complain(message: str, status: int) -> int:
    if logging.getLogger("facestream").isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    # One line, whatever a library put into its message.
    with suppress(OSError):
        print(f"facestream: {harmless(' '.join(message.split()))}", file=sys.stderr)
    return status
