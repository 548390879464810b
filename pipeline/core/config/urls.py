"""URLs of cameras; their secrets come from the environment or a file, and are never shown."""

from __future__ import annotations

import logging
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from urllib.parse import quote

from ..errors import ConfigError
from ..redact import HIDDEN, PLACEHOLDER, UrlParts, label

log = logging.getLogger(__name__)

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_LONGEST_SECRET = 65536

_WRITTEN = re.compile(f"[^{PLACEHOLDER}]+")


class CameraUrl:
    """A URL of the settings, with ``${NAME}`` or ``${file:/path}`` in place of secrets.

    ``str`` and ``repr`` show scheme, host and the placeholders of the login, and mask all else:
    they are safe to show.

    Args:
        text: e.g. ``rtsp://admin:${DOOR_PASSWORD}@10.0.0.5/stream1``; a placeholder alone stands
            for the whole URL.

    Raises:
        ValueError: it is not such a URL. The message does not quote it.
    """

    __slots__ = ("_template",)

    def __init__(self, text: str) -> None:
        for name in _PLACEHOLDER.findall(text):
            _check_placeholder(name)
        plain = _PLACEHOLDER.sub("x", text)
        if PLACEHOLDER in plain:
            raise ValueError("contains a private-use character; write it as %XX")
        if "${" in plain:
            raise ValueError("has a '${' that is not closed by '}'")
        if _CONTROL.search(plain):
            raise ValueError("must not hold spaces or control characters; write them as %20 …")
        if not _SCHEME.match(text) and not _PLACEHOLDER.fullmatch(text):
            raise ValueError(
                "must be a URL such as rtsp://10.0.0.5/stream1; write a camera of this machine "
                "as device = 0"
            )
        self._template = text
        plain = text.replace(HIDDEN, "x")
        if HIDDEN in text and _redacted(plain) in {text, plain}:
            raise ValueError(
                f"has its secrets hidden ({HIDDEN}): write them again, or ${{NAME}} in their place "
                "and set NAME in the environment"
            )

    def __str__(self) -> str:
        return _redacted(self._template)

    def __repr__(self) -> str:
        return f"CameraUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CameraUrl) and other._template == self._template

    def __hash__(self) -> int:
        return hash(self._template)

    def resolve(self, environment: Mapping[str, str], *, place: str) -> str:
        """The URL with its secrets, percent-encoded as their place in the URL needs it.

        Args:
            environment: with the values of ``${NAME}``.
            place: the URL's name in errors, e.g. ``camera 'door': url``.

        Raises:
            ConfigError: a variable or file is missing or empty. The message quotes no value.
        """
        names = _PLACEHOLDER.findall(self._template)
        secrets = (_secret(name, environment, place) for name in names)
        if _PLACEHOLDER.fullmatch(self._template):
            url = next(secrets)
            if not _SCHEME.match(url) or _CONTROL.search(url):
                raise ConfigError(f"{place}: the value of ${{{names[0]}}} is not a URL")
            return url
        safe = ("", "", ".:[]", "/", "")
        return "".join(
            _filled(part, (quote(secret, safe=unescaped) for secret in secrets))
            for part, unescaped in zip(astuple(_split(self._template)), safe, strict=True)
        )


def resolve_secret(text: str, environment: Mapping[str, str], *, place: str) -> str:
    """A secret of the settings: the text, or what its one ``${NAME}`` or ``${file:/path}`` holds.

    For settings only: what comes over the network is never resolved.

    Raises:
        ConfigError: the placeholder cannot be used. The message quotes no value.
    """
    found = _PLACEHOLDER.fullmatch(text)
    if found is None:
        return text
    try:
        _check_placeholder(found[1])
    except ValueError as error:
        raise ConfigError(f"{place} {error}") from None
    return _secret(found[1], environment, place)


def _check_placeholder(name: str) -> None:
    if name.startswith("file:"):
        if not name[5:].startswith("/"):
            raise ValueError("${file:…} needs a path from the root, e.g. ${file:/run/secrets/door}")
    elif not _VARIABLE.fullmatch(name):
        raise ValueError("has '${…}' with neither the name of a variable nor file:/path in it")


def _split(template: str) -> UrlParts:
    """The parts of a URL with a ``PLACEHOLDER`` for each placeholder."""
    return UrlParts.split(_PLACEHOLDER.sub(PLACEHOLDER, template))


def _filled(text: str, values: Iterator[str]) -> str:
    return re.sub(PLACEHOLDER, lambda _: next(values), text)


def _redacted(template: str) -> str:
    """The URL with the placeholders of its login and host; what was written out is masked."""
    if _PLACEHOLDER.fullmatch(template) or template.lower().startswith("file://"):
        return template
    shown, parts = label(_PLACEHOLDER.sub(PLACEHOLDER, template)), _split(template)
    if not shown.endswith(HIDDEN):
        # The host is certain, and so is what stands before and after it.
        login = ":".join(_WRITTEN.sub(HIDDEN, part) for part in parts.user[:-1].split(":", 1))
        scheme, _, host = shown.partition("://")
        rest = f"/{HIDDEN}" if (parts.path + parts.query).strip("/") else ""
        shown = f"{scheme}://{login}{'@' if login else ''}{host}{rest}"
    return _filled(shown, (found.group() for found in _PLACEHOLDER.finditer(template)))


def _secret(name: str, environment: Mapping[str, str], place: str) -> str:
    if not name.startswith("file:"):
        value = environment.get(name)
        if not value:
            state = "is not set" if value is None else "is empty"
            raise ConfigError(f"{place}: the environment variable {name} {state}")
        return value
    path = Path(name[5:])
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_SECRET + 1)
            mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{place}: cannot read {path}: {error.strerror}") from error
    try:
        value = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        # `from None`: the error would show the bytes.
        raise ConfigError(f"{place}: {path} is not UTF-8 text") from None
    if not value or len(content) > _LONGEST_SECRET:
        state = "is empty" if not value else f"is larger than {_LONGEST_SECRET} bytes"
        raise ConfigError(f"{place}: {path} {state}")
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        log.warning("%s: every user of this machine can read %s; run chmod o-r on it", place, path)
    return value
