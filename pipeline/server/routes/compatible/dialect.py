"""Where clients of another API put their key, and how they read an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...authentication import KEY_IN_FORM
from ...problems import MEDIA_TYPE

Problem = Mapping[str, Any]
_AS_BAD_REQUEST: Final = frozenset({409, 415, 422})
_KEY_HEADER: Final = "x-api-key"


def status_of(problem: Problem) -> int:
    """The status of an error: both servers call all that is wrong with a request 400."""
    status = int(problem["status"])
    return 400 if status in _AS_BAD_REQUEST else status


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an API differs around its routes.

    Attributes:
        prefixes: of its paths.
        error: status and body of an answer with this problem.
        key_in_form: the key may be a field of the form.
    """

    prefixes: tuple[str, ...]
    error: Callable[[Problem], tuple[int, dict[str, Any]]]
    key_in_form: bool = False


class SpokenDialects:
    """Lies around the application: what is refused before a route is called is translated, too."""

    def __init__(self, app: ASGIApp, dialects: Sequence[Dialect]) -> None:
        self._app = app
        self._dialects = tuple(dialects)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dialect = self._dialect(scope)
        if dialect is None:
            await self._app(scope, receive, send)
            return
        scope = _with_key(scope, dialect)
        await self._app(scope, receive, _Translated(send, dialect))

    def _dialect(self, scope: Scope) -> Dialect | None:
        if scope["type"] != "http":
            return None
        return next((one for one in self._dialects if scope["path"].startswith(one.prefixes)), None)


def _with_key(scope: Scope, dialect: Dialect) -> Scope:
    """The request with its key where facestream expects it."""
    headers = Headers(scope=scope)
    if "authorization" in headers:
        return scope
    raw = list(scope["headers"])
    state = scope.get("state", {})
    if key := headers.get(_KEY_HEADER):
        raw.append((b"authorization", b"Bearer " + key.encode("latin-1")))
    elif dialect.key_in_form:
        # An answer that is kept for another request must not be given before the key is checked.
        raw = [pair for pair in raw if pair[0] != b"idempotency-key"]
        state = {**state, KEY_IN_FORM: True}
    return {**scope, "headers": raw, "state": state}


class _Translated:
    """Sends answers on; those with a problem as the dialect has them."""

    def __init__(self, send: Send, dialect: Dialect) -> None:
        self._send = send
        self._dialect = dialect
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if kind.startswith(MEDIA_TYPE):
                self._start = message
                return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        status, answer = self._dialect.error(json.loads(self._body))
        body = json.dumps(answer).encode()
        start = {**start, "status": status, "headers": list(start["headers"])}
        headers = MutableHeaders(scope=start)
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})
