"""A process that is given numbers of inputs, and prints what became of each as a line of JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random
from typing import Final

from facestream.engines.errors import EngineError
from facestream.pipeline.core.errors import FacestreamError

from .kinds import KINDS, FileKind
from .mutate import mutated

ROOM: Final = 1_000_000_000  # bytes of address space, above what the process has at its start


def kind_of(number: int) -> str:
    """The kind of an input."""
    return list(KINDS)[number % len(KINDS)]


def input_of(number: int, kind: FileKind, seeds: list[bytes], *, campaign: int) -> bytes:
    """The content of an input."""
    return mutated(seeds, kind.tokens, Random(f"{campaign}/{number}"))


def main(here: Path, campaign: int) -> None:
    """Read numbers from standard input until it ends.

    Args:
        here: an empty folder; an input that fails is left in it.
        campaign: see ``input_of``.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library may print
    seeds = {name: list(kind.seeds()) for name, kind in KINDS.items()}
    temporary = here / "temporary"
    temporary.mkdir()
    os.chdir(temporary)  # relative paths and patterns find nothing
    tempfile.tempdir = str(temporary)
    for name, kind in KINDS.items():  # valid files are read, and what is loaded late is loaded
        for content in seeds[name]:
            outcome, message = _run(kind, temporary / f"seed{kind.suffix}", content)
            if outcome == "failure":
                raise SystemExit(f"a valid {name} fails:\n{message}")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    start = _peak()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        number = int(line)
        name = kind_of(number)
        content = input_of(number, KINDS[name], seeds[name], campaign=campaign)
        path = here / f"{name}-{campaign}-{number}{KINDS[name].suffix}"
        outcome, message = _run(KINDS[name], path, content)
        for file in here.glob(f"{path.stem}.*"):
            if outcome != "failure" or file != path:
                file.unlink()
        row = {"outcome": outcome, "message": message, "peak_mb": (_peak() - start) // 1000}
        print(json.dumps(row), file=answers, flush=True)


def _run(kind: FileKind, path: Path, content: bytes) -> tuple[str, str]:
    path.write_bytes(content)  # kept where the process dies
    try:
        kind.run(path)
    except (FacestreamError, EngineError) as error:
        message = str(error)
        if not message or "\n" in message or "\r" in message or len(message) > 2000:
            return "failure", f"no clear line: {message!r}"
        return "error", message
    except BaseException:  # noqa: BLE001
        return "failure", traceback.format_exc()
    return "ok", ""


def _peak() -> int:
    """Most memory so far, in kB; not ``getrusage``, which begins with that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
