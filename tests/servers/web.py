"""An HTTP server of endless MPEG-TS and MJPEG, of HLS, and of plain files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import av
from facestream.engines.closing import Closing

_BOUNDARY = "frame"
_TICK = 0.04


class WebServer(Closing):
    """Serves a folder on 127.0.0.1; each file as it is, and endlessly where the URL says so.

    ``/live/NAME.ts`` is the file at the pace of its own times, without a length; ``/mjpeg`` is
    the given pictures again and again as ``multipart/x-mixed-replace``.

    Args:
        folder: what is served.
        pictures: JPEG files, for ``/mjpeg``.
        fps: of ``/mjpeg``.
    """

    def __init__(self, folder: Path, *, pictures: Sequence[bytes] = (), fps: float = 10) -> None:
        self.stopping = threading.Event()
        self._server = _Server(
            ("127.0.0.1", 0), partial(_Handler, directory=str(folder)), bind_and_activate=True
        )
        self._server.stopping, self._server.folder = self.stopping, folder
        self._server.pictures, self._server.fps = list(pictures), fps
        self._thread = threading.Thread(target=self._serve, name="web-server")
        self.port: int = self._server.server_address[1]

    def url(self, path: str, *, port: int | None = None) -> str:
        """Where a path is found, maybe through a proxy."""
        return f"http://127.0.0.1:{port or self.port}{path}"

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        """End it, its connections too."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the connections' threads


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    stopping: threading.Event
    folder: Path
    pictures: list[bytes]
    fps: float

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none of our business."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    timeout = 5
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/mjpeg":
            self._stream(f"multipart/x-mixed-replace; boundary={_BOUNDARY}", self._pictures())
        elif self.path.startswith("/live/"):
            path = self.server.folder / self.path.removeprefix("/live/")
            self._stream("video/mp2t", paced(path))
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def _stream(self, kind: str, parts: Iterator[tuple[float, bytes]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        began = time.monotonic()
        for due, part in parts:
            if self.server.stopping.wait(max(0.0, began + due - time.monotonic())):
                return
            self.wfile.write(part)

    def _pictures(self) -> Iterator[tuple[float, bytes]]:
        number = 0
        while True:
            jpeg = self.server.pictures[number % len(self.server.pictures)]
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
            yield number / self.server.fps, head.encode() + b"\r\n" + jpeg + b"\r\n"
            number += 1


def paced(path: Path) -> Iterator[tuple[float, bytes]]:
    """MPEG-TS cut where its frames begin: seconds since its start, and bytes."""
    with av.open(str(path)) as container:
        marks = [
            (packet.pos, float(packet.dts * packet.time_base))
            for packet in container.demux(video=0)
            if packet.dts is not None and packet.pos is not None and packet.time_base is not None
        ]
    first = marks[0][1]
    with path.open("rb") as file:
        due = 0.0
        for position, when in marks[1:]:
            # Frames that are due almost together travel together.
            if when - first - due >= _TICK:
                yield due, file.read(position - file.tell())
                due = when - first
        yield due, file.read()
