"""Where the int8 version of a network is kept: beside it, as OpenVINO's own two files."""

from __future__ import annotations

from pathlib import Path

from .cards import checksum


def quantised_file(path: Path) -> Path:
    """``vae_encoder.int8.xml`` for ``vae_encoder.onnx``; its weights are in ``….bin``."""
    return path.with_suffix(".int8.xml")


def digest(path: Path, precision: str) -> str:
    """Checksum of all that an engine of this network computes with.

    Raises:
        OSError: a file cannot be read.
    """
    found = checksum(path)
    if precision != "int8":
        return found
    graph = quantised_file(path)
    return f"{found}-{checksum(graph)}-{checksum(graph.with_suffix('.bin'))}"
