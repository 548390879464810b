"""``facestream doctor``: what is installed, what will serve, and proof that it works."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Literal

from rich.table import Table
from rich.text import Text

from ..core.config import load_settings
from ..observability.installation import CheckResult, check_installation
from .console import stdout
from .errors import FAILED

STYLES = {"ok": "green", "note": "yellow", "failed": "bold red"}


def diagnose(form: Literal["table", "json"]) -> int:
    """Print the results of all checks; returns 1 if something that is needed failed."""
    results = list(check_installation(load_settings(environment=os.environ)))
    failed = sum(result.state == "failed" for result in results)
    if form == "json":
        print(json.dumps([asdict(result) for result in results], indent=2, ensure_ascii=False))
    else:
        stdout().print(_table(results))
        verdict = f"{failed} of {len(results)} checks failed" if failed else "All is well."
        stdout().print(verdict)
    return FAILED if failed else 0


def _table(results: list[CheckResult]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 1))
    area = ""
    for result in results:
        table.add_row(
            Text(result.area if result.area != area else "", style="bold"),
            Text(result.name),
            Text(result.state, style=STYLES[result.state]),
            Text(result.detail, overflow="fold"),
        )
        area = result.area
    return table
