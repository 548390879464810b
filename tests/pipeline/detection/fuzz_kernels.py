"""Runs the kernels of a build on random sizes: ``fuzz_kernels.py EXTENSION SECONDS``.

For a build with sanitizers, which stops at the first fault. All variants have to agree; arguments
that do not fit have to be refused. Needs numpy and nothing of the program.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import numpy as np
from numpy.typing import NDArray


def main(path: str, seconds: float) -> None:
    spec = spec_from_file_location("_kernels", path, loader=ExtensionFileLoader("_kernels", path))
    assert spec is not None
    assert spec.loader is not None
    native = module_from_spec(spec)
    spec.loader.exec_module(native)
    rng = np.random.default_rng(0)
    fuzz = _Fuzz(native, rng)
    end, count = time.monotonic() + seconds, 0
    jobs: tuple[Callable[[], None], ...] = (
        *(fuzz.cells, fuzz.heads, fuzz.nms, fuzz.crops, fuzz.level),
        *(fuzz.refused_cells, fuzz.refused_heads, fuzz.refused_nms),
    )
    while time.monotonic() < end:
        jobs[count % len(jobs)]()
        count += 1
    sys.stdout.write(f"{count} calls, variants: {' '.join(native.variants())}\n")


class _Fuzz:
    def __init__(self, native: Any, rng: np.random.Generator) -> None:
        self.native, self.rng = native, rng
        self.weights = [self._weights(network) for network in range(3)]

    def _weights(self, network: int) -> NDArray[np.float32]:
        """Random weights of the size that the kernels take."""
        layers = (
            ((27, 16, 1), (90, 16, 1), (16 * 16, 32, 1), (32, 16, 0)),
            ((27, 32, 1), (16 * 28, 48, 1), (192, 64, 1), (576, 128, 1), (128, 16, 0)),
            (
                *((27, 32, 1), (16 * 32, 64, 1), (16 * 64, 64, 1), (256, 128, 1)),
                *((1152, 256, 1), (256, 16, 0)),
            ),
        )[network]
        parts = []
        for inputs, outputs, slope in layers:
            parts.append(self.rng.normal(0, (1 / inputs) ** 0.5, inputs * outputs))
            parts.append(self.rng.normal(0, 0.1, outputs * (1 + slope)))
        return np.concatenate(parts).astype(np.float32)

    def picture(self) -> NDArray[np.uint8]:
        height, width = self.rng.integers(1, (300, 70)) if self.rng.random() < 0.5 else (1, 1)
        if self.rng.random() < 0.1:
            height = 1400  # cells more than 257 rows high
        return self.rng.integers(0, 256, (height, width, 3), np.uint8)

    def windows(self, image: NDArray[np.uint8]) -> NDArray[np.int32]:
        count = self.rng.integers(1, 5)
        corner = self.rng.integers(-80, max(image.shape[:2]) + 80, (count, 2))
        side = self.rng.integers(1, 200, (count, 2))
        return np.concatenate([corner, corner + side], axis=1).astype(np.int32)

    def alike(self, found: list[NDArray[np.float32]]) -> None:
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-3, atol=0.02)

    def cells(self) -> None:
        image, border = self.picture(), int(self.rng.integers(0, 8))
        rows, columns = (int(n) for n in self.rng.integers(12, 60, 2))
        height, width = ((n + 2 * border - 1) // 2 - 4 for n in (rows, columns))
        first = int(self.rng.integers(0, height)) // 2 * 2
        found = []
        for variant in self.native.variants():
            # Exactly as long as need be: the sanitizer sees what goes beyond.
            places = np.empty((height - first) * width, np.int32)
            values = np.empty((len(places), 5), np.float32)
            count = self.native.cells(
                *(variant, self.weights[0], image, *image.shape[:2], False, rows, columns),
                *(border, first, height, -np.inf, places, values),
            )
            assert count == len(places)
            assert (places == np.arange(first * width, height * width)).all()
            found.append(values)
        self.alike(found)

    def heads(self) -> None:
        network, image = int(self.rng.integers(1, 3)), self.picture()
        windows = self.windows(image)
        if network == 1 and self.rng.random() < 0.1:
            windows = np.repeat(windows, 33, axis=0)  # may be more than a group
        side = (24, 48)[network - 1]
        crops = np.empty((len(windows), side, side, 3), np.float32)
        found = []
        for variant in self.native.variants():
            for source, size, where in ((image, image.shape[:2], windows), (crops, (0, 0), None)):
                out = np.empty((len(windows), 16), np.float32)
                self.native.crops(variant, image, *image.shape[:2], windows, side, crops)
                weights = self.weights[network]
                self.native.heads(variant, network, weights, source, *size, where, out)
                found.append(out)
        self.alike(found)

    def nms(self) -> None:
        count = int(self.rng.integers(0, 300))
        corner = self.rng.integers(0, 100, (count, 2))
        boxes = np.concatenate([corner, corner + self.rng.integers(-2, 50, (count, 2))], 1)
        boxes = boxes.astype(np.float32)
        scores = self.rng.choice(np.array([0, -0.0, 0.3, 1, np.nan, np.inf], np.float32), count)
        kept = []
        for variant in self.native.variants():
            keep = np.empty(count, np.int32)
            found = self.native.nms(variant, boxes, scores, 0.5, bool(count % 2), keep)
            kept.append(keep[:found].tolist())
        assert all(one == kept[0] for one in kept)

    def crops(self) -> None:
        image = self.picture()
        windows, side = self.windows(image), int(self.rng.choice((24, 48)))
        found = []
        for variant in self.native.variants():
            found.append(np.empty((len(windows), side, side, 3), np.float32))
            self.native.crops(variant, image, *image.shape[:2], windows, side, found[-1])
        assert all((one == found[0]).all() for one in found)

    def level(self) -> None:
        image, border = self.picture(), int(self.rng.integers(0, 8))
        rows, columns = (int(n) for n in self.rng.integers(1, 80, 2))
        found = []
        for variant in self.native.variants():
            found.append(np.empty((rows + 2 * border, columns + 2 * border, 3), np.float32))
            size = (rows, columns, border)
            self.native.level(variant, image, *image.shape[:2], *size, found[-1])
        assert all((one == found[0]).all() for one in found)

    def number(self) -> int:
        edges = (-(2**31), -1, 0, 1, 2, 12, 13, 24, 48, 2**20, 2**20 + 1, 2**31 - 1)
        return int(self.rng.choice(edges) if self.rng.random() < 0.5 else self.rng.integers(0, 60))

    def buffer(self) -> NDArray[Any]:
        return self.rng.integers(-100, 100, max(self.number() % 4000, 0)).astype(np.int32)

    def refused(self, job: Callable[..., Any], *arguments: Any) -> None:
        """Either it is refused or, where all fits by chance, done."""
        try:
            job(*arguments)
        except (ValueError, TypeError, BufferError, OverflowError):
            return

    def refused_cells(self) -> None:
        weights = self.weights[0] if self.rng.random() < 0.8 else self.buffer()
        image = np.zeros((30, 40, 3), str(self.rng.choice(("u1", "f4"))))
        sides = image.shape[:2] if self.rng.random() < 0.8 else (self.number(), self.number())
        numbers = [self.number() for _ in range(5)]
        outputs = self.buffer(), self.buffer()
        floats = bool(self.rng.integers(2))
        self.refused(
            self.native.cells, "plain", weights, image, *sides, floats, *numbers, 0.0, *outputs
        )

    def refused_heads(self) -> None:
        network = self.number() % 4
        weights = self.weights[network % 3] if self.rng.random() < 0.8 else self.buffer()
        image = np.zeros((30, 40, 3), np.uint8) if self.rng.random() < 0.5 else self.buffer()
        sides = (30, 40) if self.rng.random() < 0.8 else (self.number(), self.number())
        windows = None if self.rng.random() < 0.2 else self.buffer()
        if self.rng.random() < 0.5:
            windows = np.array([[self.number() for _ in range(4)]], np.int32)
        out = np.empty((1, 16), np.float32) if self.rng.random() < 0.5 else self.buffer()
        self.refused(self.native.heads, "plain", network, weights, image, *sides, windows, out)

    def refused_nms(self) -> None:
        name = str(self.rng.choice(("plain", "", "avx9000")))
        buffers = self.buffer(), self.buffer(), self.buffer()
        self.refused(self.native.nms, name, buffers[0], buffers[1], 0.5, True, buffers[2])


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
