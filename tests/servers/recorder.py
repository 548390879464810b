"""Servers that record what reaches them, maybe over TLS, and certificates for them."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from facestream.engines.closing import Closing

USER, PASSWORD = "bob", "hush-hush"
LOGIN = f"{USER}:{PASSWORD}"
Reply = Callable[[str], bytes]
"""From the head of a request to the whole answer; an empty one ends the connection."""


@dataclass(frozen=True)
class Certificates:
    """A CA, and the certificates (with key, in one file) of servers.

    Attributes:
        good: of 127.0.0.1, by the CA.
        other_name: of another host, by the CA.
        own: of 127.0.0.1, by nobody.
        own_other_name: of another host, by nobody.
    """

    ca: Path
    good: Path
    other_name: Path
    own: Path
    own_other_name: Path


def make_certificates(folder: Path) -> Certificates:
    """Made by ``openssl``, valid for some days."""
    here, there = "IP:127.0.0.1", "DNS:other.example"
    ca = _certificate(folder / "ca.pem", "DNS:ca.example")
    return Certificates(
        ca=ca,
        good=_certificate(folder / "good.pem", here, ca=ca),
        other_name=_certificate(folder / "other_name.pem", there, ca=ca),
        own=_certificate(folder / "own.pem", here),
        own_other_name=_certificate(folder / "own_other_name.pem", there),
    )


def _certificate(path: Path, names: str, *, ca: Path | None = None) -> Path:
    key = path.with_suffix(".key")
    signed = [] if ca is None else ["-CA", str(ca), "-CAkey", str(ca.with_suffix(".key"))]
    made = ["openssl", "req", "-x509", "-nodes", "-days", "9", "-subj", f"/CN={path.stem}"]
    made += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(key)]
    made += ["-out", str(path), "-addext", f"subjectAltName={names}"]
    made += [] if ca is None else ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run([*made, *signed], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


class Recorder(Closing):
    """A server on this machine that keeps all that it gets.

    Args:
        reply: to each request.
        certificate: file with certificate and key; None: without TLS.
    """

    def __init__(
        self, reply: Reply, *, certificate: Path | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.received = b""
        self.connections = 0
        self.reply = reply
        self._tls = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._closing = threading.Event()
        self._socket = socket.create_server((host, 0))
        self._socket.settimeout(0.05)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, scheme: str, path: str = "x", *, login: str = f"{LOGIN}@") -> str:
        return f"{scheme}://{login}{self.host}:{self.port}/{path}"

    @property
    def knows_the_password(self) -> bool:
        """In clear, as basic, or as the answer to a challenge."""
        basic = b64encode(LOGIN.encode())
        return any(found in self.received for found in (PASSWORD.encode(), basic, b"response="))

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                channel, _ = self._socket.accept()
                self.connections += 1
                self._threads.append(threading.Thread(target=self._serve, args=(channel,)))
                self._threads[-1].start()

    def _serve(self, channel: socket.socket) -> None:
        with channel, suppress(OSError):
            channel.settimeout(2)
            if self._tls is None:
                self._converse(channel)
            else:
                with self._tls.wrap_socket(channel, server_side=True) as secured:
                    self._converse(secured)

    def _converse(self, channel: socket.socket) -> None:
        head = b""
        while not self._closing.is_set() and (more := channel.recv(4096)):
            self.received += more
            *asked, head = (head + more).split(b"\r\n\r\n")
            for one in asked:
                answer = self.reply(one.decode())
                channel.sendall(answer)
                if not answer or answer.startswith(b"HTTP"):
                    return


def rtsp(status: str, head: str, *lines: str) -> bytes:
    """An answer over RTSP to this request."""
    found = re.search(r"^CSeq: *(\d+)", head, re.MULTILINE)
    return "\r\n".join(
        [f"RTSP/1.0 {status}", f"CSeq: {found[1] if found else 1}", *lines, "", ""]
    ).encode()


def rtsp_login(challenge: str, then: Reply) -> Reply:
    """Wants a login, which it does not check."""

    def reply(head: str) -> bytes:
        if "\nAuthorization: " not in head:
            return rtsp("401 Unauthorized", head, f"WWW-Authenticate: {challenge}")
        return then(head)

    return reply


def http_login(challenge: str, content: bytes, kind: str) -> Reply:
    """Wants a login, which it does not check, and gives the content."""

    def reply(head: str) -> bytes:
        if "\nAuthorization: " not in head:
            return f"HTTP/1.0 401 No\r\nWWW-Authenticate: {challenge}\r\n\r\n".encode()
        return f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + content

    return reply
