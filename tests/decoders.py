"""The decoder processes of this one, and of others."""

from __future__ import annotations

import os
from pathlib import Path

from facestream.pipeline.sources import DEFAULTS, Source, SourceOptions, SourceSpec, expand_sources
from facestream.pipeline.sources.process.link import DecoderLimits
from facestream.pipeline.sources.process.source import ProcessSource


def in_process(spec: SourceSpec, options: SourceOptions = DEFAULTS) -> Source:
    """An opener: in a process of its own."""
    return ProcessSource(spec, options, DecoderLimits())


def isolated(
    source: str | Path,
    options: SourceOptions = DEFAULTS,
    *,
    memory: int = 1024,
    silence: float = 30.0,
) -> ProcessSource:
    """Opened in a process of its own."""
    return ProcessSource(expand_sources([source])[0], options, DecoderLimits(memory, silence))


def decoders_of(parent: int) -> list[int]:
    """The decoders that a process runs now."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                words = (folder / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            if int(status[1]) == parent and status[0] != "Z" and b"sources.process.child" in words:
                found.append(int(folder.name))
    return found


def decoders() -> list[int]:
    return decoders_of(os.getpid())


def ended(process: int) -> bool:
    """It is gone, or waits only to be reaped."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
