"""A Containerfile as a list of instructions."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"

Stage = list[tuple[str, str]]


def stages() -> list[Stage]:
    """Keyword and rest of each instruction, by stage; what comes before the first is left out."""
    lines = [
        line
        for line in CONTAINERFILE.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[Stage] = []
    for line in joined.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest.strip()))
    return found


def value_of(stage: Stage, word: str) -> str:
    """The rest of the last instruction with this keyword."""
    return [rest for found, rest in stage if found == word][-1]


def command_of(stage: Stage, word: str) -> list[str]:
    """The command in brackets of an instruction."""
    text = value_of(stage, word)
    command: list[str] = json.loads(text[text.index("[") :])
    return command
