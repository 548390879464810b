"""The detector that stays on the device."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from facestream.engines.base import Engine
from facestream.engines.closing import Closing
from facestream.engines.errors import BackendUnavailable, InferenceError
from facestream.engines.options import Serving
from torch import Tensor

from ...core.types import Faces, Floats, Image
from ..mtcnn.requests import MinFaces, check_image, make_search, searches
from .capacity import Lengths, Planner
from .cascade import Bounds, Found, Grid, search
from .geometry import geometry
from .networks import TorchNetworks
from .recent import Recent, one_ahead
from .recordings import Recordings
from .transfer import Transfer

log = logging.getLogger(__name__)

# Kept for so many sizes of picture, the least recently used going first.
_SIZES = 16

# What a picture takes on the device while it is searched, in bytes for each of its pixels (its
# table, twice) and for each pixel of its levels (sampled, and P-Net's first maps).
_PIXEL_BYTES = 32
_LEVEL_BYTES = 200

# What a batch may take on the CPU, where larger ones gain nothing.
_CPU_BYTES = 1 << 30

# What a candidate takes: 24 neighbours and their boxes.
_CELL_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Size:
    """Pictures that are searched alike."""

    height: int
    width: int
    min_face: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a detector did: batches searched, and how many of them again with longer lists."""

    batches: int = 0
    repeated: int = 0


@dataclass(slots=True)
class _Batch:
    """A batch under way: its frames on the device, and what is copied back."""

    size: Size
    lengths: Lengths
    frames: Tensor
    faces: Tensor
    needed: Tensor
    done: torch.cuda.Event | None


class ResidentDetector(Closing):
    """MTCNN in exact mode without leaving the device. May be used from several threads.

    Pictures of one size are searched together; the host waits once a batch, for the results, and
    puts the next batch on the device before it waits for the last.

    Args:
        min_face: side of the smallest faces to find, in pixels, at least 12.
        factor: from one size of face to the next in the search, 0.1 to 0.95.
        thresholds: probabilities that P-, R- and O-Net must give a face.
        serving: its device, and its cache for the parity gate's verdicts.
        memory: how much of the device's memory a batch may take, in bytes, roughly; a picture
            that takes more is searched alone. None is a sixteenth of a GPU's: up to four kinds
            of batches are recorded, and each recording keeps what it takes.

    Raises:
        ValueError: an argument is out of its range.
        BackendUnavailable: the backend cannot serve here.
        ParityRefused: its results are not those of the reference.
        ModelError: a network's file is missing or damaged.
    """

    def __init__(
        self,
        *,
        min_face: int = 40,
        factor: float = 0.709,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        serving: Serving = Serving(backend="torch"),
        memory: int | None = None,
    ) -> None:
        self._search = make_search(min_face, factor, thresholds)
        self._bounds = Bounds.of(thresholds)
        self._networks = TorchNetworks(serving)
        self._device = self._networks.device
        self._transfer = Transfer(self._device)
        self._memory = _share(self._device) if memory is None else memory
        self._grids: Recent[Size, Grid | None] = Recent(_SIZES)
        self._planners: Recent[tuple[Size, int], Planner] = Recent(8 * _SIZES)
        self._recordings = Recordings(self._device)
        self._lock = threading.RLock()
        self.counts = Counts()
        self._try_out()

    @property
    def backend(self) -> str:
        """Backend that serves."""
        return self._networks.backend

    @property
    def device(self) -> str:
        """Device it runs on, e.g. ``cuda:0``."""
        return str(self._device)

    @property
    def min_face(self) -> int:
        """Side of the smallest faces to find, in pixels."""
        return self._search.min_face

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs the networks, by the network's name."""
        return self._networks.engines

    def detect(self, image: Image) -> Faces:
        """The faces of a picture; see ``detect_batch``."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image], *, min_face: MinFaces = None) -> list[Faces]:
        """The faces of each picture, by descending score.

        Args:
            images: H×W×3 BGR uint8 each, of any sizes.
            min_face: smallest faces to find in all of them, or in each; None: as the detector
                was made.

        Raises:
            ValueError: an image is not H×W×3 uint8, a ``min_face`` is below 12, or there are
                more or fewer of them than images.
        """
        wanted = searches(self._search, min_face, len(images))
        groups: dict[Size, list[int]] = {}
        for index, (image, job) in enumerate(zip(images, wanted, strict=True)):
            check_image(image)
            groups.setdefault(Size(image.shape[0], image.shape[1], job.min_face), []).append(index)
        results = [Faces.empty() for _ in images]
        with self._lock, self._transfer.working():
            parts = (
                (members[rows.start : rows.stop], size)
                for size, members in groups.items()
                for rows in self._parts(size, len(members))
            )
            launched = ((members, self._upload(size, members, images)) for members, size in parts)
            # One part ahead: the host fills the next one's frames while the device searches.
            for members, batch in one_ahead(launched):
                for index, faces in zip(members, self._collect(batch), strict=True):
                    results[index] = faces
        return results

    def close(self) -> None:
        """Free the networks and what is kept on the device."""
        with self._lock:
            self._recordings.close()
            self._grids.clear()
            self._planners.clear()
            self._networks.close()

    def _try_out(self) -> None:
        """Search a picture: a torch without kernels for this device says so only now."""
        if self._device.type == "cpu":
            return
        side = 2 * self._search.min_face
        try:
            self.detect(np.zeros((side, side, 3), np.uint8))
        except (RuntimeError, InferenceError) as error:
            self.close()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BackendUnavailable(f"torch does not search on {self.device}: {reason}") from error

    def _upload(self, size: Size, members: list[int], images: Sequence[Image]) -> _Batch:
        """Frames to the device, and their search."""
        return self._launch(size, self._transfer.upload([images[index] for index in members]))

    def _launch(self, size: Size, frames: Tensor) -> _Batch:
        """Put a search on the stream; nothing here waits for the device."""
        grid = self._grid(size)
        assert grid is not None  # _parts gives none of such a size
        lengths = self._planner(size, len(frames)).lengths

        def launch(frames: Tensor) -> Found:
            return search(frames, grid, self._networks, self._bounds, lengths)

        found = self._recordings.run((size, len(frames), lengths), launch, frames)
        faces, needed = (self._transfer.to_host(tensor) for tensor in found)
        return _Batch(size, lengths, frames, faces, needed, self._transfer.mark())

    def _collect(self, batch: _Batch) -> list[Faces]:
        """Wait for a batch; search it again where its lists were too short."""
        count = len(batch.frames)
        self.counts = replace(self.counts, batches=self.counts.batches + 1)
        while True:
            if batch.done is not None:
                batch.done.synchronize()
            needed = Lengths._make(batch.needed.tolist())
            self._planner(batch.size, count).learn(needed)
            if batch.lengths.hold(needed):
                return split_faces(batch.faces.numpy(), count)
            self.counts = replace(self.counts, repeated=self.counts.repeated + 1)
            log.debug("%s: lists of %s are too short, needed %s", batch.size, batch.lengths, needed)
            if count > 1 and needed.cells * _CELL_BYTES > self._memory:
                singles = (self._launch(batch.size, frame[None]) for frame in batch.frames)
                return [faces for single in singles for faces in self._collect(single)]
            batch = self._launch(batch.size, batch.frames)

    def _parts(self, size: Size, count: int) -> Iterator[range]:
        """Pictures in batches of 1, 2, 4, …: few numbers, each of which may be recorded."""
        grid = self._grid(size)
        if grid is None:
            return
        bytes_each = size.height * size.width * _PIXEL_BYTES + grid.geometry.pixels * _LEVEL_BYTES
        most = max(self._memory // bytes_each, 1)
        start = 0
        while start < count:
            part = 1 << (min(count - start, most).bit_length() - 1)
            yield range(start, start + part)
            start += part

    def _grid(self, size: Size) -> Grid | None:
        """The tables of a size; None where it is smaller than a face."""

        def make() -> Grid | None:
            found = geometry(
                size.height, size.width, min_face=size.min_face, factor=self._search.factor
            )
            return None if found is None else Grid(found, self._device)

        return self._grids.get(size, make)

    def _planner(self, size: Size, count: int) -> Planner:
        return self._planners.get((size, count), lambda: Planner(count))


def split_faces(found: Floats, count: int) -> list[Faces]:
    """Rows of ``Found.faces``, in the order of their pictures, as the faces of each picture."""
    found = found[found[:, 1] > 0]
    bounds = np.searchsorted(found[:, 0], np.arange(1, count))
    return [
        Faces(
            boxes=part[:, 3:7].copy(),
            scores=part[:, 2].copy(),
            landmarks=part[:, 7:17].reshape(-1, 5, 2).copy(),
        )
        for part in np.split(found, bounds)
    ]


def _share(device: torch.device) -> int:
    """What a batch may take where nobody says it."""
    if device.type == "cpu":
        return _CPU_BYTES
    return int(torch.cuda.get_device_properties(device).total_memory) // 16
