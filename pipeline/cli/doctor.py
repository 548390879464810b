"""``facestream doctor``: what is installed, what will serve, and proof that it works."""

from __future__ import annotations

import os
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from ..core.config import load_settings
from ..observability.installation import check_installation
from .console import print_json, say, stdout
from .errors import FAILED

STYLES = {"ok": "green", "note": "yellow", "failed": "bold red"}


def diagnose(*, as_json: bool) -> int:
    """Print the results of all checks; returns 1 if something that is needed failed."""
    results = list(check_installation(load_settings(environment=os.environ)))
    failed = sum(result.state == "failed" for result in results)
    if as_json:
        print_json([asdict(result) for result in results])
        return FAILED if failed else 0
    shown = Table(show_header=False, box=None, padding=(0, 1))
    area = ""
    for result in results:
        shown.add_row(
            Text(result.area if result.area != area else "", style="bold"),
            Text(result.name),
            Text(result.state, style=STYLES[result.state]),
            Text(result.detail, overflow="fold"),
        )
        area = result.area
    stdout().print(shown)
    say(f"{failed} of {len(results)} checks failed" if failed else "All is well.")
    return FAILED if failed else 0
