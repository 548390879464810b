"""TLS of cameras and servers: certificates are checked unless a setting says otherwise."""

from __future__ import annotations

import functools
import logging
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..core.errors import SourceError

log = logging.getLogger(__name__)

TLS_SCHEMES = frozenset({"https", "rtsps", "rtmps", "tls"})

# FFmpeg gets one file; where Python's OpenSSL names none, distributions have it here.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class Tls:
    """How the certificate of a server is checked.

    Attributes:
        ca: file (PEM) with the certificates that are trusted; None: the system's.
        verify: without it every certificate is accepted.
    """

    ca: Path | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """For Python's own connections.

        Raises:
            OSError: the file of the CA cannot be read, or holds no certificate.
        """
        return _context(self, None if self.ca is None else self.ca.stat().st_mtime_ns)

    def ffmpeg_options(self) -> dict[str, str]:
        """The same for FFmpeg's ``tls`` protocol."""
        ca = self.ca or _system_bundle()
        found = {"tls_verify": str(int(self.verify))}
        return found if ca is None else {**found, "ca_file": str(ca)}

    def warn(self, name: str, url: str) -> None:
        """Say that the certificate of this source is not checked, where that is so."""
        if not self.verify and url.partition("://")[0].lower() in TLS_SCHEMES:
            log.warning(
                "%s: tls_verify = false, its certificate is not checked: whoever is in between "
                "can read the password and replace the picture",
                name,
            )


VERIFIED = Tls()


@functools.lru_cache(maxsize=16)
def _context(tls: Tls, changed: int | None) -> ssl.SSLContext:
    if not tls.verify:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    if tls.ca is None:
        return ssl.create_default_context(cafile=_system_bundle())
    context = ssl.create_default_context(cafile=str(tls.ca))
    # Cameras sign their own certificates, without the extensions of a CA.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _system_bundle() -> str | None:
    named = ssl.get_default_verify_paths().cafile
    return named or next((path for path in _BUNDLES if Path(path).is_file()), None)


def distrust(error: BaseException) -> str | None:
    """What is wrong with a certificate and what to do; None: it is another error."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    why = error.verify_message.rstrip(".")
    why = (why[:1].lower() + why[1:]) if why[1:2].islower() else why
    return (
        f"its TLS certificate is not trusted ({why}); give the file of its CA as tls_ca, "
        "or set tls_verify = false"
    )


def certificate_problem(url: str, tls: Tls, timeout: float) -> str | None:
    """Why FFmpeg could not connect, if it is the certificate; it does not say so itself."""
    parts = urlsplit(url)
    if parts.scheme not in TLS_SCHEMES or parts.hostname is None:
        return None
    try:
        place = (parts.hostname, parts.port or 443)
        with socket.create_connection(place, timeout) as channel:
            tls.context().wrap_socket(channel, server_hostname=parts.hostname).close()
    except (OSError, ValueError) as error:
        return distrust(error)
    return None


def unusable_ca(tls: Tls, error: OSError) -> SourceError:
    """The error when `Tls.context` raises."""
    why = f"tls_ca: {tls.ca} cannot be used ({error.strerror or error}); give a file in PEM format"
    return SourceError(why, retry="slowly", reason=why)
