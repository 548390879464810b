"""The detector that stays on the device."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from facestream.engines.base import Engine
from facestream.engines.closing import Closing
from facestream.engines.errors import BackendUnavailable, InferenceError
from facestream.engines.options import Serving
from torch import Tensor

from ...core.types import Faces, Floats, Image
from ..mtcnn.cascade import Search
from .cascade import Found, Grid, bounds_of, search
from .geometry import geometry
from .lists import Lengths, Planner
from .networks import TorchNetworks
from .recordings import Recordings

log = logging.getLogger(__name__)

# Sizes of picture for which tables are kept; the least recently used goes first.
_SIZES = 16

# What a picture takes on the device while it is searched, in bytes for each of its pixels (its
# table, twice) and for each pixel of its levels (sampled, and P-Net's first maps).
_PIXEL_BYTES = 32
_LEVEL_BYTES = 200

# What a batch may take on the CPU, where larger ones gain nothing.
_CPU_BYTES = 1 << 30

# What a candidate takes: 24 neighbours and their boxes.
_CELL_BYTES = 2048

# What each pair of boxes takes that suppression compares: four edges, areas and marks of the
# earlier box, the overlap, and what is left of them between two kernels.
_PAIR_BYTES = 64

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Size:
    """Pictures that are searched alike."""

    height: int
    width: int
    min_face: int


@dataclass(slots=True)
class _Batch:
    """A batch under way: its frames on the device, and what is copied back.

    Only the first ``count`` frames are pictures; black ones may follow.
    """

    size: Size
    count: int
    lengths: Lengths
    frames: Tensor
    faces: Tensor
    needed: Tensor
    done: torch.cuda.Event | None


class ResidentDetector(Closing):
    """MTCNN in float32 without leaving the device. May be used from several threads.

    Pictures of one size are searched together; the host waits once a batch, for the results, and
    puts the next batch on the device before it waits for the last.

    Args:
        settings: its factor and thresholds, and whether it is padded.
        serving: its device, and its cache for the parity gate's verdicts.

    Attributes:
        batches: how many were searched.
        repeated: how often one was searched again with longer lists.

    Raises:
        BackendUnavailable: the backend cannot serve here.
        ParityRefused: its results are not those of the reference.
        ModelError: a network's file is missing or damaged.
    """

    def __init__(self, settings: Search, serving: Serving) -> None:
        self._bounds = bounds_of(settings.thresholds)
        self._networks = TorchNetworks(serving)
        device = self._device = self._networks.device
        self._transfer = Transfer(device)
        self._memory = batch_memory(device)
        self._recordings = Recordings(device)
        # A GPU searches a few black pictures in less time than it launches several small batches.
        self._pads = device.type != "cpu"
        self._lock = threading.RLock()
        self.batches = self.repeated = 0

        @lru_cache(_SIZES)
        def grid(size: Size) -> Grid | None:
            """The tables of a size; None where it is smaller than a face."""
            found = geometry(
                *(size.height, size.width),
                min_face=size.min_face,
                factor=settings.factor,
                padded=settings.padded,
            )
            return None if found is None else Grid(found, device)

        @lru_cache(8 * _SIZES)
        def planner(size: Size, count: int) -> Planner:
            return Planner(count)

        self._grid, self._planner = grid, planner
        if device.type != "cpu":
            self._try_out(settings)

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs the networks, by the network's name."""
        return self._networks.engines

    def find(self, jobs: Sequence[tuple[Image, Search]]) -> list[Faces]:
        """The faces of each picture H×W×3 BGR uint8, by descending score.

        Of a search only ``min_face`` counts.
        """
        images = [image for image, _ in jobs]
        groups: dict[Size, list[int]] = {}
        for index, (image, job) in enumerate(jobs):
            groups.setdefault(Size(image.shape[0], image.shape[1], job.min_face), []).append(index)
        results = [Faces.empty() for _ in jobs]
        with self._lock, self._transfer.working():
            parts = (
                (members[rows.start : rows.stop], size)
                for size, members in groups.items()
                for rows in self._parts(size, len(members))
            )
            launched = ((members, self._upload(size, members, images)) for members, size in parts)
            # One part ahead: the host fills the next one's frames while the device searches.
            for members, batch in _one_ahead(launched):
                for index, faces in zip(members, self._collect(batch), strict=True):
                    results[index] = faces
        return results

    def close(self) -> None:
        """Free the networks and what is kept on the device."""
        with self._lock:
            self._recordings.close()
            self._grid.cache_clear()
            self._planner.cache_clear()
            self._networks.close()

    def _try_out(self, settings: Search) -> None:
        """Search a picture: a torch without kernels for this device says so only now."""
        side = 2 * settings.min_face
        try:
            self.find([(np.zeros((side, side, 3), np.uint8), settings)])
        except (RuntimeError, InferenceError) as error:
            self.close()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BackendUnavailable(
                f"torch does not search on {self._device}: {reason}"
            ) from error

    def _upload(self, size: Size, members: list[int], images: Sequence[Image]) -> _Batch:
        """Frames to the device, and their search."""
        count = len(members)
        places = 1 << (count - 1).bit_length()
        frames = self._transfer.upload([images[index] for index in members], places)
        return self._launch(size, count, frames)

    def _launch(self, size: Size, count: int, frames: Tensor) -> _Batch:
        """Put a search on the stream; nothing here waits for the device."""
        grid = self._grid(size)
        assert grid is not None  # _parts gives none of such a size
        lengths = self._planner(size, len(frames)).lengths

        def launch(frames: Tensor) -> Found:
            return search(frames, grid, self._networks, self._bounds, lengths)

        found = self._recordings.run((size, len(frames), lengths), launch, frames)
        faces, needed = (self._transfer.to_host(tensor) for tensor in found)
        return _Batch(size, count, lengths, frames, faces, needed, self._transfer.mark())

    def _collect(self, batch: _Batch) -> list[Faces]:
        """Wait for a batch; search it again where its lists were too short."""
        count, places = batch.count, len(batch.frames)
        self.batches += 1
        while True:
            if batch.done is not None:
                batch.done.synchronize()
            needed = Lengths._make(batch.needed.tolist())
            self._planner(batch.size, places).learn(needed)
            if batch.lengths.hold(needed):
                return _split_faces(batch.faces.numpy(), count)
            self.repeated += 1
            log.debug("%s: lists of %s are too short, needed %s", batch.size, batch.lengths, needed)
            if count > 1 and _list_bytes(needed) > self._memory:
                frames = batch.frames[:count]
                singles = (self._launch(batch.size, 1, frame[None]) for frame in frames)
                return [faces for single in singles for faces in self._collect(single)]
            batch = self._launch(batch.size, count, batch.frames)

    def _parts(self, size: Size, count: int) -> Iterator[range]:
        """Pictures in batches of 1, 2, 4, …: few numbers, each of which may be recorded. The last
        one may have fewer pictures, and is padded."""
        grid = self._grid(size)
        if grid is None:
            return
        bytes_each = size.height * size.width * _PIXEL_BYTES + grid.geometry.pixels * _LEVEL_BYTES
        most = max(self._memory // bytes_each, 1)
        start = 0
        while start < count:
            left = count - start
            part = 1 << (min(left, most).bit_length() - 1)
            if self._pads and 1.5 * part <= left <= 2 * part <= most:
                part = left
            yield range(start, start + part)
            start += part


class Transfer:
    """Copies that are under way when the call returns; on the CPU there is nothing to copy.

    Host memory is pinned, so that the device fetches it by itself. torch keeps the memory of a
    copy under way from being used again.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def working(self) -> Iterator[None]:
        """What is launched in this block is on the stream, and keeps no gradients."""
        stream = nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        with torch.inference_mode(), stream:
            yield

    def upload(self, images: Sequence[Image], places: int) -> Tensor:
        """Pictures of one size, B×H×W×3, and black ones for the rest of B = ``places``."""
        shape = (places, *images[0].shape)
        host = torch.empty(shape, dtype=torch.uint8, pin_memory=self._stream is not None)
        host[len(images) :] = 0
        for place, image in zip(host, images, strict=False):
            # Copied where torch would warn of an array that it may not write to.
            place.copy_(torch.from_numpy(np.require(image, requirements=["C", "W"])))
        return host.to(self.device, non_blocking=True)

    def to_host(self, tensor: Tensor) -> Tensor:
        """A copy of a device's tensor; there once ``mark`` is passed."""
        if self._stream is None:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def mark(self) -> torch.cuda.Event | None:
        """The end of what is on the stream by now; ``synchronize`` waits for it."""
        if self._stream is None:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return event


def _split_faces(found: Floats, count: int) -> list[Faces]:
    """Rows of ``Found.faces``, in the order of their pictures, as the faces of the first ones."""
    found = found[(found[:, 1] > 0) & (found[:, 0] < count)]
    bounds = np.searchsorted(found[:, 0], np.arange(1, count))
    return [
        Faces(
            boxes=part[:, 3:7].copy(),
            scores=part[:, 2].copy(),
            landmarks=part[:, 7:17].reshape(-1, 5, 2).copy(),
        )
        for part in np.split(found, bounds)
    ]


def _list_bytes(needed: Lengths) -> int:
    """What the longest lists of a batch take on the device, roughly."""
    rows = max(needed.windows, needed.refined, needed.outputs)
    return needed.cells * _CELL_BYTES + rows * needed.window * _PAIR_BYTES


def _one_ahead(values: Iterable[Value]) -> Iterator[Value]:
    """The same values, each taken before the one before it is given."""
    taken: list[Value] = []
    for value in values:
        taken.append(value)
        if len(taken) > 1:
            yield taken.pop(0)
    yield from taken


def batch_memory(device: torch.device) -> int:
    """How much of a device's memory a batch may take, in bytes, roughly.

    A picture that takes more is searched alone. Of a GPU's memory it is an eighth of what is free:
    up to four kinds of batches are captured, and each capture keeps what it takes.
    """
    if device.type == "cpu":
        return _CPU_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) // 8
