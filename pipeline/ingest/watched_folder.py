"""A watched folder: its files are read once each, when they are finished."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from facestream.engines.private_files import private

from ..core.errors import OutputError, SourceError
from ..sources import SourceSpec, file_source, readable_files
from ..sources.growing import is_written

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0
_SETTLED = 2.0
"""Seconds without a change after which a file that nobody has open is finished."""

_Version = tuple[str, int, int]
"""Path, size and time of the last change: another recording under the same name is another one."""


class WatchedFolder:
    """Finds the finished videos and pictures of a folder and remembers those that were read.

    The reader's thread looks for files; the thread that hands out results reports which of them
    are complete.

    Args:
        folder: searched with the folders in it; hidden files are left out.
        state: file of the versions that were read, a JSON line each; None: they are forgotten
            with the run.

    Raises:
        SourceError: there is no such folder.
        OutputError: the state file cannot be read or written.
    """

    def __init__(self, folder: Path, state: Path | None) -> None:
        if not folder.is_dir():
            raise SourceError(f"there is no folder {folder} to watch; create it first")
        self._folder = folder
        self._state = state
        self._given: set[_Version] = set() if state is None else _load(state)
        self._seen: dict[Path, tuple[_Version, float]] = {}  # since when it is as it is
        self._open: dict[str, _Version] = {}
        self._names: dict[str, int] = {}

    def files(self, stopping: threading.Event) -> Iterator[SourceSpec]:
        """The finished files, as they come, in the order of their names; until it is stopped."""
        while not stopping.is_set():
            for path, version in self._finished():
                if stopping.is_set():
                    return
                self._given.add(version)
                spec = self._spec(path)
                self._open[spec.name] = version
                yield spec
            stopping.wait(_LOOK_EVERY)

    def completed(self, source: str) -> None:
        """A file was read to its end, and all that was seen in it is written.

        Raises:
            OutputError: the state file cannot be written.
        """
        version = self._open.pop(source, None)
        if version is None or self._state is None:
            return
        path, size, changed = version
        line = json.dumps({"file": path, "size": size, "changed": changed}, ensure_ascii=False)
        try:
            with open(
                self._state, "a", encoding="utf-8", errors="surrogateescape", opener=private
            ) as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._state}: {error.strerror}") from error

    def _finished(self) -> Iterator[tuple[Path, _Version]]:
        try:
            found = readable_files(self._folder)
        except SourceError as error:
            log.warning("%s", error)
            return
        seen, self._seen = self._seen, {}
        for path in found:
            try:
                status = path.stat()
                version = (str(path.absolute()), status.st_size, status.st_mtime_ns)
                if version in self._given:
                    continue
                before, since = seen.get(path, (None, 0.0))
                if before != version:
                    since = time.monotonic() - min(max(time.time() - status.st_mtime, 0.0), 60.0)
                self._seen[path] = (version, since)
                settled = time.monotonic() - since >= _SETTLED
                if status.st_size and settled and not _is_open(path):
                    yield path, version
            except OSError as error:  # gone again, or not ours to read
                log.debug("%s: %s", path, error)

    def _spec(self, path: Path) -> SourceSpec:
        """The source; a later file of the same name gets a number."""
        spec = file_source(path)
        number = self._names[spec.name] = self._names.get(spec.name, 0) + 1
        return spec if number == 1 else replace(spec, name=f"{spec.name} ({number})")


def _is_open(path: Path) -> bool:
    with path.open("rb") as file:
        return is_written(file.fileno()) is True


def _load(state: Path) -> set[_Version]:
    try:
        text = state.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise OutputError(f"cannot read {state}: {error.strerror}") from error
    found: set[_Version] = set()
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            found.add((str(entry["file"]), int(entry["size"]), int(entry["changed"])))
        except (ValueError, KeyError, TypeError):  # cut off when the machine stopped
            log.debug("%s: not understood: %r", state, line)
    return found
