"""Streams and graphs of the CUDA runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..closing import Closing
from ..errors import InferenceError
from .runtime import call, kind, runtime

process_lock = threading.RLock()
"""Held for a capture, and for settings of the whole process (cuDNN's flags in torch).

A capture in one thread forbids the others to wait for the whole device, which torch does before
each of its own captures; either of them would fail.
"""


class Graph(Closing):
    """Captured work, launched as a whole."""

    def __init__(self, executable: Any) -> None:
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        """Launch it on the stream; InferenceError if CUDA refuses."""
        call("cudaGraphLaunch", self._executable, stream.raw)

    def close(self) -> None:
        """Free the graph; it must not be running."""
        executable, self._executable = self._executable, None
        if executable is not None:
            call("cudaGraphExecDestroy", executable)


class Stream(Closing):
    """A queue of work that does not wait for the default stream, nor the default stream for it.

    Attributes:
        raw: the stream as the runtime takes it.
    """

    def __init__(self) -> None:
        self.raw: Any = call("cudaStreamCreateWithFlags", runtime().cudaStreamNonBlocking)

    @property
    def handle(self) -> int:
        """The stream as TensorRT takes it."""
        return int(self.raw)

    def upload(self, device: int, host: int, size: int) -> None:
        """Copy ``size`` bytes from pinned memory to the device, in stream order."""
        self._copy(device, host, size, "cudaMemcpyHostToDevice")

    def download(self, host: int, device: int, size: int) -> None:
        """Copy ``size`` bytes from the device to pinned memory, in stream order."""
        self._copy(host, device, size, "cudaMemcpyDeviceToHost")

    def synchronize(self) -> None:
        """Wait until all work is done; InferenceError if some of it failed."""
        call("cudaStreamSynchronize", self.raw)

    def capture(self, work: Callable[[], None]) -> Graph:
        """What ``work`` puts on this stream, as a graph. None of it is executed.

        Other threads may go on using the device meanwhile: the capture is of this thread alone.

        Raises:
            InferenceError: CUDA cannot capture it, or there was nothing to capture; the stream
                can be used as before.
        """
        with process_lock:
            mode = kind("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
            call("cudaStreamBeginCapture", self.raw, mode)
            try:
                work()
            except BaseException:
                self._abandon()
                raise
            graph = call("cudaStreamEndCapture", self.raw)
        if graph is None or int(graph) == 0:
            raise InferenceError("the capture of a CUDA graph gave no graph")
        try:
            if not call("cudaGraphGetNodes", graph, 0)[1]:
                raise InferenceError("the capture of a CUDA graph holds no work")
            return Graph(call("cudaGraphInstantiateWithFlags", graph, 0))
        finally:
            call("cudaGraphDestroy", graph)

    def close(self) -> None:
        """Free the stream; work on it still runs."""
        stream, self.raw = self.raw, None
        if stream is not None:
            call("cudaStreamDestroy", stream)

    def _abandon(self) -> None:
        """End a failed capture; the error that caused it says more than this one's."""
        try:
            graph = call("cudaStreamEndCapture", self.raw)
        except InferenceError:
            return
        if graph is not None and int(graph) != 0:
            call("cudaGraphDestroy", graph)

    def _copy(self, to: int, source: int, size: int, direction: str) -> None:
        call("cudaMemcpyAsync", to, source, size, kind("cudaMemcpyKind", direction), self.raw)
