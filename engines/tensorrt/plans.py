"""Plans kept in a folder: found by their key, checked before use, built when missing."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from pydantic import ValidationError

from ..cards import checksum
from ..checks import check_model_file
from ..errors import BackendUnavailable, BuildFailed, ModelError
from ..files import PART, check_folder, own_folder, write_atomically
from ..private_files import file_mode, read_trusted
from .build import BuiltPlan, Manifest, Progress, build_plan, sha256_of_bytes
from .recipe import Recipe, key_of

log = logging.getLogger(__name__)

PLAN, MANIFEST = ".plan", ".manifest"  # the latter is JSON; other things may lie in the folder
_LOCK = "plans.lock"
_OF_A_PLAN = re.compile(r"-[0-9a-f]{32}\.[a-z]+$")  # a plan, its manifest, its compiled kernels

# Seconds between two checks whether to keep waiting.
_PATIENCE = 0.5

# A part of a file may be a process's that needs no lock (compiled kernels): it gets this long.
_PART_SECONDS = 600.0


class Build(Protocol):
    """Builds a plan; see ``build_plan``."""

    def __call__(
        self, path: Path, recipe: Recipe, *, progress: Progress | None, timings: Path | None
    ) -> BuiltPlan: ...


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan in the store: its file and its manifest, a file beside it."""

    path: Path
    manifest: Manifest

    def read(self) -> bytes:
        """The plan; ModelError if it is gone, others may write it, or it does not match its
        manifest."""
        try:
            data = read_trusted(self.path)
        except OSError as error:
            raise ModelError(f"cannot read the plan {self.path}: {error.strerror}") from error
        if len(data) != self.manifest.size:
            raise ModelError(
                f"the plan {self.path} has {len(data)} bytes, its manifest says "
                f"{self.manifest.size}"
            )
        if sha256_of_bytes(data) != self.manifest.sha256:
            raise ModelError(f"the plan {self.path} is damaged: its checksum is another")
        return data


class PlanStore:
    """The plans in a folder. May be used from several threads and processes.

    Each plan is a file beside its manifest. Writers hold the folder's lock, one at a time:
    builds side by side would spoil the times that TensorRT measures. The system frees the lock
    of a process that dies. Readers need no lock: files are written atomically, and a plan without
    its own manifest is ignored.

    A plan is native code: write access to the folder means running code in this process. The
    folder is for its owner alone; a folder or a file that another user owns or may write is not
    used.

    Args:
        folder: made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plan_for(
        self,
        path: Path,
        recipe: Recipe,
        *,
        progress: Progress | None = None,
        build: Build = build_plan,
    ) -> StoredPlan:
        """The checked plan of a network; built, where it must be, by one process at a time.

        A process that waited for another one's build takes that plan.

        Args:
            path: the ``.onnx`` network.
            recipe: what to build from it.
            progress: called with the progress of a build, see ``build_plan``.
            build: builds it.

        Raises:
            BackendUnavailable: it cannot be built here, or the folder cannot be written.
            BuildFailed: the build failed, or ``progress`` stopped it or the wait for another's.
            ModelError: the network is missing, damaged, or does not fit the recipe.
        """
        check_model_file(path)
        key = recipe.key(checksum(path))
        found = self._find(key, logging.DEBUG)
        if found is not None:
            return found
        with self._locked(progress):
            found = self.find(key)  # another process may have built it meanwhile
            if found is not None:
                return found
            log.info("building the plan of %s for %s", path.stem, recipe.target)
            timings = self.folder / f"timings-{recipe.version}-{_plain(recipe.gpu)}.cache"
            return self._put(build(path, recipe, progress=progress, timings=timings))

    def find(self, key: str) -> StoredPlan | None:
        """The plan of a key, its checksum compared; None if missing or damaged."""
        return self._find(key, logging.WARNING)

    def _find(self, key: str, level: int) -> StoredPlan | None:
        if (fault := self._fault()) is not None:
            log.log(level, "%s", fault)
            return None
        for path in self.folder.glob(f"*-{key}{MANIFEST}"):
            try:
                stored = _load(path)
                stored.read()
            except ModelError as error:
                log.log(level, "%s; it will be built again", error)
                continue
            return stored
        return None

    def select(self, word: str) -> list[StoredPlan]:
        """The plans of a network, or those whose key begins with ``word`` (4 digits or more)."""
        return [
            plan
            for plan in self.list()[0]
            if plan.manifest.network == word
            or (len(word) >= 4 and plan.manifest.key.startswith(word.lower()))
        ]

    def list(self) -> tuple[list[StoredPlan], list[str]]:
        """All plans by file name, their checksums not compared, and what is wrong with others."""
        plans, faults = [], []
        if (fault := self._fault()) is not None:
            return [], [fault]
        for path in sorted(self.folder.glob(f"*{MANIFEST}")):
            try:
                plans.append(_load(path))
            except ModelError as error:
                faults.append(str(error))
        return plans, faults

    def discard(self, key: str) -> None:
        """Remove the plan of a key, e.g. one that its variant refused to load.

        Raises:
            BackendUnavailable: the folder cannot be written.
        """
        if not self.folder.is_dir():
            return
        with self._locked():
            for path in list(self.folder.glob(f"*-{key}.*")):
                path.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove leftovers: parts of crashed builds, plans or manifests without the other.

        Returns the number of bytes freed.

        Raises:
            BackendUnavailable: the folder cannot be written.
        """
        if not self.folder.is_dir():
            return 0
        with self._locked():
            return self._sweep()

    def _fault(self) -> str | None:
        """Why nothing in the folder may be used."""
        try:
            if self.folder.is_dir():
                check_folder(self.folder)
        except OSError as error:
            return f"the plans in {self.folder} are not used: {error.strerror}"
        return None

    def _put(self, plan: BuiltPlan) -> StoredPlan:
        """The caller holds the lock."""
        self._sweep()
        facts = plan.manifest
        target, precision = facts.parts.get("target"), facts.parts.get("precision")
        path = self.folder / f"{facts.network}-{target}-{precision}-{facts.key}{PLAN}"
        # The manifest is last: without it there is no plan.
        write_atomically(path, plan.data)
        text = facts.model_dump_json(indent=2, by_alias=True) + "\n"
        write_atomically(path.with_suffix(MANIFEST), text.encode())
        return StoredPlan(path, facts)

    def _sweep(self) -> int:
        """The caller holds the lock: no plan is being written."""
        kept = {stored.path.stem for stored in self.list()[0] if stored.path.is_file()}
        now = time.time()
        freed = 0
        for path in list(self.folder.iterdir()):
            stat = path.lstat()
            part = path.name.startswith(PART) and now - stat.st_mtime > _PART_SECONDS
            lone = _OF_A_PLAN.search(path.name) is not None and path.stem not in kept
            if part or lone:
                freed += stat.st_size
                path.unlink(missing_ok=True)
        return freed

    @contextmanager
    def _locked(self, progress: Progress | None = None) -> Iterator[None]:
        """Holds the folder's lock during the block."""
        try:
            own_folder(self.folder)
            lock = FileLock(self.folder / _LOCK, mode=file_mode())
            self._wait_for(lock, progress)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            yield
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        finally:
            lock.release()

    def _wait_for(self, lock: FileLock, progress: Progress | None) -> None:
        """Take the lock; as long as another process has it, ask ``progress`` whether to wait."""
        wait = 0.0
        while True:
            try:
                lock.acquire(timeout=wait)
                return
            except Timeout:
                if wait == 0:
                    log.info("waiting for another process that builds plans in %s", self.folder)
                wait = _PATIENCE
            if progress is not None and progress("waiting for another process", 0.0) is False:
                raise BuildFailed(f"the wait for another process's plans in {self.folder} ended")


def _load(path: Path) -> StoredPlan:
    """The plan of a manifest.

    Raises:
        ModelError: the manifest cannot be read or is not of the plan it is named after.
    """
    try:
        manifest = Manifest.model_validate_json(read_trusted(path))
    except OSError as error:
        raise ModelError(f"cannot read the manifest {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"bad manifest {path}: {where}: {first['msg']}") from error
    if not path.stem.endswith(manifest.key) or key_of(manifest.parts) != manifest.key:
        raise ModelError(f"the manifest {path} is of another plan")
    return StoredPlan(path.with_suffix(PLAN), manifest)


def _unwritable(folder: Path, error: OSError) -> BackendUnavailable:
    return BackendUnavailable(
        f"plans cannot be kept in {folder}: {error.strerror or error}; "
        "set runtime.engine_cache to another folder"
    )


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name).strip("-").lower() or "any"
