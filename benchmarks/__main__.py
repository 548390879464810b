"""``python -m benchmarks``: lists the measurements, and runs one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from .suites import SUITES

COMMANDS = {
    "suite": "contenders side by side, in fresh processes and interleaved rounds",
    "house": "speed, memory, start, size and lines of this checkout or of two",
    "kill-runs": "runs killed while they store sightings: nothing is lost, all agrees",
    "gpu": "on an NVIDIA GPU: tests, parity and speed in ten minutes",
    "kernels": "the detector in C beside OpenVINO, frame by frame in turn, by threads",
    "live": "searching every N-th frame: accuracy, cost, and how many cameras are kept up with",
    "identify-video": "open-set identification in video: the gain of fusing a track's frames",
    "verdicts": "how often enrolled people and strangers are called strangers",
    "redact": "covering faces of a video: recall of their pixels, what is lost, recognition after",
    "calibration": "what calibrating a gallery is worth; an own cohort; the PFE score",
    "unknowns": "how well unnamed sightings become people, on LFW",
    "clusters": "how long a thousand new sightings take among a hundred thousand clustered ones",
    "tight-photos": "photos that are cut to the face: found, aligned, enrolled, recognised",
    "gallery-check": "wrong photos, split people and copies that a check finds; what is learned",
    "unexplained": "whether the decoder tells covered faces and patterns from faces",
    "gallery-open": "opening a large gallery: time to the first answer",
    "sightings": "a million sightings: search, pages, what is stored in a second, upgrade",
    "encryption": "what encryption at rest costs: loading, searching, changing keys",
    "soak": "four cameras with random faults for twenty minutes",
    "isolation": "decoding in a process of its own beside decoding in a thread",
    "fault-runs": "two hundred faults of a live run: who goes on, how soon all is back",
    "fair-share": "a good camera beside a crowd and beside very large pictures: what it loses",
    "fuzz": "ten thousand damaged and hostile files: no crash, hang, gigabyte or traceback",
    "service": "recognition over HTTP beside the library in process",
    "page-pictures": "pictures of the page for docs/page.md, by a browser",
    "shutdown": "a hundred runs ended at random moments: no hang, complete files",
}


def usage() -> str:
    """The list of commands and suites."""
    lines = ["python -m benchmarks COMMAND [options]; each has --help", "", "Commands"]
    lines += [f"  {name:16}{text}" for name, text in COMMANDS.items()]
    lines += ["", "Suites of 'python -m benchmarks suite NAME|all'"]
    return "\n".join([*lines, *(f"  {name:16}{text}" for name, text in SUITES.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0 if given else 2
    if given[0] not in COMMANDS:
        print(f"benchmarks: no command '{given[0]}' (see --help)", file=sys.stderr)
        return 2
    name = "run_suites" if given[0] == "suite" else given[0].replace("-", "_")
    module = importlib.import_module(f"benchmarks.{name}")
    status: int = module.main(given[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
