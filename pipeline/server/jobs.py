"""Long work in the background: started by a request, followed by others."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from facestream.engines.closing import Closing
from facestream.engines.errors import EngineError

from ..core.errors import FacestreamError
from .problems import RequestRefused

log = logging.getLogger(__name__)

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
KEPT: Final = 100
MOST_OPEN: Final = 10

Step = Callable[[int, int], None]
"""Called with what is done and of how much (0: not known); ends the job where it is cancelled."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work in the background, as it is now.

    Attributes:
        kind: e.g. ``re-embed``.
        done, total: progress; ``total`` 0: not known.
        result: of a job that is done.
        error: of one that failed, in one line.
    """

    id: str
    kind: str
    actor: str
    created_at: datetime
    state: JobState = "waiting"
    done: int = 0
    total: int = 0
    result: Mapping[str, Any] | None = None
    error: str | None = None
    ended_at: datetime | None = None

    @property
    def open(self) -> bool:
        """True for a job that has not ended."""
        return self.state in ("waiting", "running")


class _JobCancelled(Exception):
    """Ends the work of a job."""


@dataclass(slots=True)
class _Entry:
    job: Job
    cancelled: threading.Event = field(default_factory=threading.Event)


class Jobs(Closing):
    """Runs one job after the other; the newest hundred that ended are remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="job")

    def start(self, kind: str, actor: str, work: Callable[[Step], Mapping[str, Any]]) -> Job:
        """Begin work that calls its argument with its progress, and returns what is told of it.

        Raises:
            RequestRefused: 503, too many jobs wait.
        """
        job = Job(secrets.token_hex(8), kind, actor, datetime.now(UTC))
        with self._lock:
            if sum(entry.job.open for entry in self._entries.values()) >= MOST_OPEN:
                raise RequestRefused(503, "too many jobs wait", Retry_After="30")
            self._entries[job.id] = _Entry(job)
            ended = [key for key, entry in self._entries.items() if not entry.job.open]
            for key in ended[: max(len(ended) - KEPT, 0)]:
                del self._entries[key]
        self._pool.submit(self._run, job.id, work)
        return job

    def all(self) -> list[Job]:
        """The newest first."""
        with self._lock:
            return [entry.job for entry in reversed(self._entries.values())]

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            RequestRefused: 404.
        """
        with self._lock:
            return self._entry(job_id).job

    def cancel(self, job_id: str) -> Job:
        """End a job at its next step; one that has ended stays as it is."""
        with self._lock:
            entry = self._entry(job_id)
            entry.cancelled.set()
            if entry.job.state == "waiting":
                entry.job = replace(entry.job, state="cancelled", ended_at=datetime.now(UTC))
            return entry.job

    def close(self) -> None:
        """Cancel all jobs and wait for the one that runs."""
        with self._lock:
            for entry in self._entries.values():
                entry.cancelled.set()
        self._pool.shutdown(cancel_futures=True)

    def _entry(self, job_id: str) -> _Entry:
        entry = self._entries.get(job_id)
        if entry is None:
            raise RequestRefused(404, "there is no such job; the newest hundred are remembered")
        return entry

    def _update(self, job_id: str, **values: Any) -> None:
        with self._lock:
            entry = self._entries[job_id]
            entry.job = replace(entry.job, **values)

    def _run(self, job_id: str, work: Callable[[Step], Mapping[str, Any]]) -> None:
        with self._lock:
            entry = self._entries[job_id]
            if entry.cancelled.is_set():
                return
            entry.job = replace(entry.job, state="running")

        def step(done: int, total: int) -> None:
            if entry.cancelled.is_set():
                raise _JobCancelled
            self._update(job_id, done=done, total=total)

        end: dict[str, Any]
        try:
            end = {"result": work(step), "state": "done"}
        except _JobCancelled:
            end = {"state": "cancelled"}
        except (FacestreamError, EngineError) as error:
            end = {"state": "failed", "error": str(error)}
        except Exception:
            log.exception("the job %s failed", job_id)
            end = {"state": "failed", "error": "the server failed; its log has the error"}
        self._update(job_id, ended_at=datetime.now(UTC), **end)
