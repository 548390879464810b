"""The parity gate: an engine serves only if its results agree with the reference's.

Verdicts are kept on disk, so that an engine is judged once and not at every start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from .base import Engine
from .files import check_folder, own_folder, write_atomically
from .private_files import FileRefused, read_trusted

log = logging.getLogger(__name__)

_FOLDER = "verdicts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a comparison.

    Attributes:
        figures: by name, e.g. ``{"cosine_min": 0.9996}``.
        refused: why the engine may not serve, one sentence each; empty when it may.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    @classmethod
    def of(cls, figures: Mapping[str, float], least: Mapping[str, float]) -> Self:
        """Refuse each figure that is below its bound in ``least``, or NaN."""
        refused = tuple(
            f"{name} is {figures[name]:.6g}, not {bound:g} or more"
            for name, bound in least.items()
            if not figures[name] >= bound
        )
        return cls(figures, refused)

    @property
    def passed(self) -> bool:
        """Whether the engine may serve."""
        return not self.refused


class Gate(Protocol):
    """Compares an engine with the float32 reference on real inputs."""

    @property
    def key(self) -> str:
        """Identifies the inputs, the reference and the bounds; a verdict holds for one key."""
        ...

    def judge(self, engine: Engine) -> Verdict:
        """Run the engine and the reference; InferenceError if one of them failed."""
        ...


@dataclass(frozen=True, slots=True)
class VerdictIdentity:
    """All that a verdict depends on.

    Attributes:
        network: SHA-256 of the ONNX file.
        machine: the backend's version and the device's name, as the backend reports them.
        device: e.g. ``CPU`` or ``cuda:0``.
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
        """32 hex digits: the name of the verdict's file."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


# Verdicts without a folder to keep them: a detector's lanes load the same networks several times.
_verdicts: dict[VerdictIdentity, Verdict] = {}
_verdicts_lock = threading.Lock()


class VerdictStore:
    """Verdicts in a subfolder of ``folder``; None keeps them for this process alone.

    Safe with several threads and processes. A file that is damaged or of another engine is
    replaced. Where the folder cannot be written, or others may write into it, engines are judged
    at each start.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / _FOLDER

    def judged(self, engine: Engine, gate: Gate, *, network: str, machine: str) -> Verdict:
        """The stored verdict on an engine, else the gate's, which is stored.

        ``network`` and ``machine`` are those of ``VerdictIdentity``.

        Raises:
            InferenceError: the engine failed on the gate's inputs; no verdict is stored.
        """
        identity = VerdictIdentity(
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

    def find(self, identity: VerdictIdentity) -> Verdict | None:
        """The stored verdict; None if there is none or it cannot be read."""
        if self._folder is None:
            with _verdicts_lock:
                return _verdicts.get(identity)
        path = self._path(self._folder, identity)
        try:
            for folder in (self._folder.parent, self._folder):
                check_folder(folder)
            return _parse(read_trusted(path), identity)
        except FileNotFoundError:
            return None
        except FileRefused as error:
            log.warning("kept verdicts are not used: %s: %s", error.filename, error.strerror)
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.debug("the verdict %s is not used: %s", path, error)
            return None

    def put(self, identity: VerdictIdentity, verdict: Verdict) -> None:
        """Keep a verdict; in a folder that cannot be written it is dropped."""
        if self._folder is None:
            with _verdicts_lock:
                _verdicts[identity] = verdict
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
            for folder in (self._folder.parent, self._folder):
                own_folder(folder)
            write_atomically(path, text.encode())
        except OSError as error:
            log.debug("the verdict %s cannot be kept: %s", path, error)

    @staticmethod
    def _path(folder: Path, identity: VerdictIdentity) -> Path:
        return folder / f"{identity.key}.json"


def _parse(data: bytes, identity: VerdictIdentity) -> Verdict:
    kept: Any = json.loads(data)
    if kept["identity"] != asdict(identity):
        raise ValueError("it is of another engine")
    return Verdict(
        figures={str(name): float(value) for name, value in kept["figures"].items()},
        refused=tuple(map(str, kept["refused"])),
    )
