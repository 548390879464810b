"""Streams, events and graphs of the CUDA runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..closing import Closing
from ..errors import InferenceError
from .locks import process_lock
from .runtime import call, kind, runtime


class Event(Closing):
    """A point in a stream's work that other streams and the host can wait for."""

    def __init__(self) -> None:
        self._event: Any = call("cudaEventCreateWithFlags", runtime().cudaEventDisableTiming)

    def record(self, stream: Any) -> None:
        """Mark where the stream's work is now; ``stream`` as the runtime takes it."""
        call("cudaEventRecord", self._event, stream)

    def hold_up(self, stream: Any) -> None:
        """Let what is put on ``stream`` from now on wait for what was recorded last."""
        call("cudaStreamWaitEvent", stream, self._event, 0)

    def synchronize(self) -> None:
        """Wait on the host."""
        call("cudaEventSynchronize", self._event)

    def close(self) -> None:
        """Give it back."""
        event, self._event = self._event, None
        if event is not None:
            call("cudaEventDestroy", event)


class Graph(Closing):
    """Work that was captured once and is launched as a whole."""

    def __init__(self, executable: Any) -> None:
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        """Put it on the stream.

        Raises:
            InferenceError: CUDA refuses.
        """
        call("cudaGraphLaunch", self._executable, stream.raw)

    def close(self) -> None:
        """Give it back; it must not be running."""
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
        """Copy ``size`` bytes from pinned memory to the device, when their turn comes."""
        self._copy(device, host, size, "cudaMemcpyHostToDevice")

    def download(self, host: int, device: int, size: int) -> None:
        """Copy ``size`` bytes from the device to pinned memory, when their turn comes."""
        self._copy(host, device, size, "cudaMemcpyDeviceToHost")

    def synchronize(self) -> None:
        """Wait until all is done.

        Raises:
            InferenceError: something on the stream failed.
        """
        call("cudaStreamSynchronize", self.raw)

    def capture(self, work: Callable[[], None]) -> Graph:
        """What ``work`` puts on this stream, as a graph. None of it is executed.

        Other threads may go on using the device meanwhile: the capture is of this thread alone.

        Raises:
            InferenceError: CUDA cannot capture it, or there was nothing to capture; the stream
                can be used as before.
        """
        with process_lock:
            call("cudaStreamBeginCapture", self.raw, _thread_local())
            try:
                work()
            except BaseException:
                self._abandon()
                raise
            graph = call("cudaStreamEndCapture", self.raw)
        if graph is None or int(graph) == 0:
            raise InferenceError("the capture of a CUDA graph was broken off: it gave no graph")
        try:
            if not call("cudaGraphGetNodes", graph, 0)[1]:
                raise InferenceError("the capture of a CUDA graph holds no work")
            return Graph(call("cudaGraphInstantiateWithFlags", graph, 0))
        finally:
            call("cudaGraphDestroy", graph)

    def close(self) -> None:
        """Give it back; what is on it still runs."""
        stream, self.raw = self.raw, None
        if stream is not None:
            call("cudaStreamDestroy", stream)

    def _abandon(self) -> None:
        """End a capture that failed; the error that broke it off says more than this one's."""
        try:
            graph = call("cudaStreamEndCapture", self.raw)
        except InferenceError:
            return
        if graph is not None and int(graph) != 0:
            call("cudaGraphDestroy", graph)

    def _copy(self, to: int, source: int, size: int, direction: str) -> None:
        call("cudaMemcpyAsync", to, source, size, kind("cudaMemcpyKind", direction), self.raw)


def is_capturing(stream: int) -> bool:
    """Whether a stream (its address, as torch and TensorRT give it) is being captured."""
    status = call("cudaStreamIsCapturing", stream)
    return bool(status != kind("cudaStreamCaptureStatus", "cudaStreamCaptureStatusNone"))


def _thread_local() -> Any:
    return kind("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
