"""facestream, YuNet + SFace and facenet-pytorch on real video, side by side in one run.

    python benchmarks/peers.py --json benchmarks/results/peers.json

Uses the clips of ../shared/data where no video is named. The same as
``facestream bench VIDEO... --peers --zoo DIR``; see ``facestream bench --help``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from facestream.pipeline.cli import main as facestream

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> int:
    """Run the bench on the chosen videos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--zoo", type=Path, default=DATA / "models")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="all search every N-th frame")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    videos = given.videos or sorted((DATA / "videos").glob("*.mp4"))
    if not videos:
        print("no videos: name some, or put the research data into ../shared/data")
        return 2
    arguments = ["bench", *map(str, videos), "--peers", "--zoo", str(given.zoo)]
    arguments += ["--rounds", str(given.rounds), "--detect-every", str(given.every)]
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        arguments += ["--json", str(given.json)]
    return facestream(arguments)


if __name__ == "__main__":
    sys.exit(main())
