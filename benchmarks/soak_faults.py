"""Random faults for the soak, one after another, and how soon each camera came back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.servers.proxy import FaultProxy, Faults
from tests.servers.rtsp import RtspServer

from .soak_samples import Sampler

LOST_AFTER = 60.0
"""Seconds after which a camera that did not come back counts as lost."""


@dataclass(frozen=True, slots=True)
class Rig:
    """What the program watches.

    Attributes:
        urls: of each camera.
        proxies: in front of those that have faults.
        servers: of those that can be killed.
    """

    urls: dict[str, str]
    proxies: Mapping[str, FaultProxy]
    servers: Mapping[str, RtspServer]


@dataclass(slots=True)
class Injected:
    """A fault as it was.

    Attributes:
        at: seconds from the start.
        camera: whose.
        kind: what.
        seconds: how long.
        recovered: seconds from its end to the next result of the camera; None: never.
    """

    at: float
    camera: str
    kind: str
    seconds: float
    recovered: float | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    faults: Faults | None
    shortest: float
    longest: float


KINDS: dict[str, _Kind] = {
    "killed": _Kind(None, 2, 12),
    "cut": _Kind(None, 0, 0),
    "refused": _Kind(Faults("refuse"), 2, 12),
    "silent": _Kind(Faults("silent"), 4, 12),
    "black hole": _Kind(Faults("hole"), 2, 15),
    "flipped bits": _Kind(Faults(flips=1e-4), 5, 15),
    "flipped blindly": _Kind(Faults(flips=1e-4, where="blind"), 3, 10),
    "slow": _Kind(Faults(delay=0.2), 5, 15),
    "narrow": _Kind(Faults(rate=20_000), 5, 15),
}


class Chaos:
    """Chooses, begins and ends faults; `step` is called about twice a second.

    Args:
        rig: what can be broken.
        sampler: knows how many results each camera has had.
        seed: of every choice.
    """

    def __init__(self, rig: Rig, sampler: Sampler, *, seed: int) -> None:
        self.faults: list[Injected] = []
        self._rig = rig
        self._sampler = sampler
        self._random = random.Random(seed)
        self._next = time.monotonic() + self._random.uniform(5, 15)
        self._active: Injected | None = None
        self._waiting: Injected | None = None
        self._until = 0.0
        self._results = 0.0

    def step(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if self._active is not None:
            if now >= self._until:
                self._end(self._active)
        elif self._waiting is not None:
            self._watch(self._waiting, now)
        elif now >= self._next:
            self._begin(now)

    def settle(self) -> None:
        """End the last fault and wait until its camera is back."""
        self._next = float("inf")
        self._until = 0.0
        while self._active is not None or self._waiting is not None:
            self.step()
            time.sleep(0.2)

    def _begin(self, now: float) -> None:
        camera = self._random.choice(sorted(self._rig.proxies))
        kinds = [kind for kind in KINDS if kind != "killed" or camera in self._rig.servers]
        name = self._random.choice(kinds)
        kind = KINDS[name]
        seconds = round(self._random.uniform(kind.shortest, kind.longest), 1)
        fault = Injected(round(self._sampler.seconds(), 1), camera, name, seconds)
        self.faults.append(fault)
        self._active, self._until = fault, now + seconds
        proxy = self._rig.proxies[camera]
        if kind.faults is not None:
            proxy.set(kind.faults)
        elif name == "cut":
            proxy.cut()
        else:
            self._rig.servers[camera].kill()

    def _end(self, fault: Injected) -> None:
        undo: Callable[[], None] = self._rig.proxies[fault.camera].set
        if fault.kind == "killed":
            undo = self._rig.servers[fault.camera].start
        undo()
        self._active, self._waiting = None, fault
        self._until = time.monotonic()
        self._results = self._sampler.results(fault.camera)

    def _watch(self, fault: Injected, now: float) -> None:
        # The second result: the first may be one that was on its way.
        back = self._sampler.results(fault.camera) >= self._results + 2
        if back:
            fault.recovered = round(now - self._until, 2)
        if back or now - self._until > LOST_AFTER:
            self._waiting = None
            self._next = now + self._random.uniform(5, 20)
