"""URLs of cameras: their secrets come from the environment or a file, and are never shown."""

from __future__ import annotations

import logging
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import ConfigError
from .secret_names import SECRET_WORDS

log = logging.getLogger(__name__)

HIDDEN = "***"

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
# Names of parameters whose values are secrets, in a query or in a path of the form a=b.
_SECRET_NAME = rf"[\w.-]*(?:{SECRET_WORDS})[\w.-]*"
_IN_PATH = re.compile(rf"(?<![\w.-])({_SECRET_NAME}=)([^&;/?#]*)", re.IGNORECASE)
# In a query only "&" ends a value: one that was written out may hold anything else.
_IN_QUERY = re.compile(rf"(?<![\w.-])({_SECRET_NAME}=)([^&]*)", re.IGNORECASE)
_LONGEST_SECRET = 65536

# Private characters stand for placeholders while a URL is taken apart.
_FIRST = 0xF0000
_KEPT = re.compile(r"[\U000F0000-\U000FFFFD]")
_WRITTEN = re.compile(r"[^\U000F0000-\U000FFFFD]+")


@dataclass(frozen=True, slots=True)
class _Parts:
    """A URL cut where the rules for its characters change; joined they are the whole."""

    scheme: str
    user: str
    host: str
    path: str
    query: str

    @classmethod
    def of(cls, text: str) -> _Parts:
        scheme, _, rest = text.partition("://")
        end = re.search(r"[/?#]", rest)
        host = rest[: end.start()] if end else rest
        at = host.find("@")
        if at < 0 or not _KEPT.fullmatch(host[at - 1 : at]):
            # A password that was written out may hold "/" or "@" and reach to the last "@"; one
            # from a placeholder ends with it.
            at = rest.rfind("@") if at >= 0 or ":" in host else -1
        user, rest = rest[: at + 1], rest[at + 1 :]
        end = re.search(r"[/?#]", rest)
        cut = end.start() if end else len(rest)
        host, tail = rest[:cut], rest[cut:]
        path, mark, query = tail.partition("?")
        return cls(f"{scheme}://", user, host, path, mark + query)


class CameraUrl:
    """A URL as the settings have it, with ``${NAME}`` or ``${file:/path}`` where secrets go.

    ``str`` and ``repr`` hide what was written as a password, and keep the placeholders: both may
    be shown to anybody.

    Args:
        text: e.g. ``rtsp://admin:${DOOR_PASSWORD}@10.0.0.5/stream1``; a placeholder alone stands
            for a whole URL.

    Raises:
        ValueError: it is no such URL. The message does not quote it.
    """

    __slots__ = ("_template",)

    def __init__(self, text: str) -> None:
        for name in _PLACEHOLDER.findall(text):
            _check_placeholder(name)
        plain = _PLACEHOLDER.sub("x", text)
        if _KEPT.search(plain):
            raise ValueError("holds a character of no script; write it as %XX")
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
        if HIDDEN in text and _restored(*_shown(text.replace(HIDDEN, "x"))) == text:
            raise ValueError(
                f"has its password hidden ({HIDDEN}): write ${{NAME}} in its place and set NAME "
                "in the environment"
            )

    def __str__(self) -> str:
        return _restored(*_shown(self._template))

    def __repr__(self) -> str:
        return f"CameraUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CameraUrl) and other._template == self._template

    def __hash__(self) -> int:
        return hash(self._template)

    @property
    def variables(self) -> tuple[str, ...]:
        """What stands between the braces, in order."""
        return tuple(_PLACEHOLDER.findall(self._template))

    def resolve(self, environment: Mapping[str, str], *, place: str) -> str:
        """The URL with its secrets, percent-encoded as their place in the URL needs it.

        Args:
            environment: where ``${NAME}`` is looked up.
            place: how errors call this URL, e.g. ``camera 'door': url``.

        Raises:
            ConfigError: a variable or file is missing or empty; it does not quote values.
        """
        if _PLACEHOLDER.fullmatch(self._template):
            (name,) = self.variables
            url = _secret(name, environment, place)
            if not _SCHEME.match(url) or _CONTROL.search(url):
                raise ConfigError(f"{place}: what ${{{name}}} holds is not a URL")
            return url

        def filled(part: str, safe: str) -> str:
            def encoded(found: re.Match[str]) -> str:
                return quote(_secret(found.group(1), environment, place), safe=safe)

            return _PLACEHOLDER.sub(encoded, part)

        parts, kept = _parts(self._template)
        back = [(part, safe) for part, safe in zip(parts, ("", "", ".:[]", "/", ""), strict=True)]
        return "".join(filled(_restored(part, kept), safe) for part, safe in back)


def _check_placeholder(name: str) -> None:
    if name.startswith("file:"):
        if not name[5:].startswith("/"):
            raise ValueError("${file:…} needs a path from the root, e.g. ${file:/run/secrets/door}")
    elif not _VARIABLE.fullmatch(name):
        raise ValueError(
            "has '${…}' with something that is neither the name of a variable nor file:/path"
        )


def _parts(template: str) -> tuple[tuple[str, ...], list[str]]:
    """The parts of a URL with a private character for each placeholder, and the placeholders."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found.group(0))
        return chr(_FIRST + len(kept) - 1)

    parts = _Parts.of(_PLACEHOLDER.sub(keep, template))
    return (parts.scheme, parts.user, parts.host, parts.path, parts.query), kept


def _restored(text: str, kept: list[str]) -> str:
    for number, placeholder in enumerate(kept):
        text = text.replace(chr(_FIRST + number), placeholder)
    return text


def _shown(template: str) -> tuple[str, list[str]]:
    if _PLACEHOLDER.fullmatch(template):
        return template, []
    (scheme, user, host, path, query), kept = _parts(template)
    if user:
        name, colon, password = user[:-1].partition(":")
        # A user without a password is a token.
        user = f"{name}:{_hidden(password)}@" if colon else f"{_hidden(name)}@"

    def parameter(found: re.Match[str]) -> str:
        return found.group(1) + _hidden(found.group(2))

    path, query = _IN_PATH.sub(parameter, path), _IN_QUERY.sub(parameter, query)
    return scheme + user + host + path + query, kept


def _hidden(text: str) -> str:
    """Stars for what was written out; placeholders stay."""
    return _WRITTEN.sub(HIDDEN, text)


def _secret(name: str, environment: Mapping[str, str], place: str) -> str:
    if name.startswith("file:"):
        return _from_file(Path(name[5:]), place)
    value = environment.get(name)
    if not value:
        state = "is not set" if value is None else "is empty"
        raise ConfigError(f"{place}: the environment variable {name} {state}")
    return value


def _from_file(path: Path, place: str) -> str:
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
        log.warning("%s: everybody on this machine can read %s; chmod o-r it", place, path)
    return value
