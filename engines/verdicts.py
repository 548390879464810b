"""Verdicts of the parity gate, kept so that an engine is judged once and not at every start."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .base import Engine
from .files import write_atomically
from .parity import Gate, Verdict

log = logging.getLogger(__name__)

_FOLDER = "verdicts"


@dataclass(frozen=True, slots=True)
class Identity:
    """All that a verdict depends on.

    Attributes:
        network: SHA-256 of the ONNX file.
        backend: what runs it.
        machine: the backend's version and the device's name, in the backend's own words.
        device: e.g. ``CPU`` or ``cuda:0``.
        precision: that it computes in.
        gate: the gate's key.
    """

    network: str
    backend: str
    machine: str
    device: str
    precision: str
    gate: str

    @property
    def key(self) -> str:
        """32 hex digits; the verdict's file is named so."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


# What was judged in this process where no folder keeps it: the lanes of a detector load the same
# networks several times.
_remembered: dict[Identity, Verdict] = {}
_remembering = threading.Lock()


class VerdictStore:
    """Verdicts in a folder. May be used from several threads and processes.

    A file that is damaged, or of another engine, counts as none and is written anew. Where the
    folder cannot be written the engines are judged at each start.

    Args:
        folder: of built engines; verdicts are kept in one of their own within. None keeps them
            for this process alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / _FOLDER

    def judged(self, engine: Engine, gate: Gate, *, network: str, machine: str) -> Verdict:
        """The verdict on an engine: the one that is kept, else the gate's, which is kept then.

        Args:
            engine: to be judged.
            gate: judges it.
            network: SHA-256 of its ONNX file.
            machine: see ``Identity``.

        Raises:
            InferenceError: the engine failed on the gate's inputs; no verdict is kept.
        """
        identity = Identity(
            network=network,
            backend=engine.backend,
            machine=machine,
            device=engine.device,
            precision=engine.precision,
            gate=gate.key,
        )
        verdict = self.find(identity)
        if verdict is None:
            verdict = gate.judge(engine)
            self.put(identity, verdict)
        return verdict

    def find(self, identity: Identity) -> Verdict | None:
        """The verdict that is kept, None where there is none that can be read."""
        if self._folder is None:
            with _remembering:
                return _remembered.get(identity)
        path = self._path(self._folder, identity)
        try:
            return _parse(path.read_bytes(), identity)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.debug("the verdict %s is not used: %s", path, error)
            return None

    def put(self, identity: Identity, verdict: Verdict) -> None:
        """Keep a verdict; in a folder that cannot be written it is dropped."""
        if self._folder is None:
            with _remembering:
                _remembered[identity] = verdict
            return
        text = json.dumps(
            {
                "identity": asdict(identity),
                "figures": dict(verdict.figures),
                "refused": list(verdict.refused),
            },
            indent=2,
        )
        path = self._path(self._folder, identity)
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            log.debug("the verdict %s cannot be kept: %s", path, error)

    @staticmethod
    def _path(folder: Path, identity: Identity) -> Path:
        return folder / f"{identity.key}.json"


def _parse(data: bytes, identity: Identity) -> Verdict:
    kept: Any = json.loads(data)
    if kept["identity"] != asdict(identity):
        raise ValueError("it is of another engine")
    return Verdict(
        figures={str(name): float(value) for name, value in kept["figures"].items()},
        refused=tuple(map(str, kept["refused"])),
    )
