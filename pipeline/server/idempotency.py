"""``Idempotency-Key``: a request that is sent again gets the answer of the first one."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import RequestRefused

KEPT: Final = 1000
KEPT_SECONDS: Final = 24 * 3600.0
LARGEST_ANSWER: Final = 1 << 18
LONGEST_KEY: Final = 128


@dataclass(slots=True)
class _Answer:
    began: float
    body: str = ""
    messages: list[Message] | None = None
    dropped: bool = False


class Idempotency:
    """Keeps the newest answers, in memory: a restart forgets them, and so does forgetting somebody.

    A body of JSON must be the same again; of pictures only method, path and query are compared, as
    a client separates the parts of a form differently each time.
    """

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._kept: OrderedDict[str, _Answer] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        key = headers.get("idempotency-key")
        if key is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            raise RequestRefused(
                400, f"an Idempotency-Key has 1 to {LONGEST_KEY} printable characters"
            )
        actor = scope["state"].get("actor")
        query = scope["query_string"].decode("latin-1")
        name = "\n".join([getattr(actor, "name", ""), key, scope["method"], scope["path"], query])
        fingerprint = ""
        if not headers.get("content-type", "").lower().startswith("multipart/"):
            body = await _read(receive)
            fingerprint, receive = hashlib.sha256(body).hexdigest(), _again(body, receive)
        answer = self._find(name)
        if answer is None:
            await self._first(name, fingerprint, scope, receive, send)
            return
        if answer.dropped:
            raise RequestRefused(409, "this Idempotency-Key was used; its answer was erased since")
        if answer.messages is None:
            raise RequestRefused(409, "the first request with this Idempotency-Key still runs")
        if answer.body != fingerprint:
            raise RequestRefused(422, "this Idempotency-Key was used with another body")
        for message in answer.messages:
            await send(dict(message))

    def forget(self) -> int:
        """Drop all kept answers, which may name somebody; returns how many. From any thread.

        The requests are not done again: they get an error.
        """
        ended = [one for one in list(self._kept.values()) if one.messages is not None]
        for one in ended:
            one.messages, one.dropped = None, True
        return len(ended)

    async def _first(
        self, name: str, fingerprint: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        answer = self._kept[name] = _Answer(self._clock(), fingerprint)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        messages: list[Message] = []
        size, status = 0, 500

        async def kept(message: Message) -> None:
            nonlocal size, status
            status = message.get("status", status)
            size += len(message.get("body", b""))
            if size <= LARGEST_ANSWER:
                messages.append(
                    {**message, "headers": list(message["headers"])}
                    if "headers" in message
                    else dict(message)
                )
            await send(message)

        try:
            await self._app(scope, receive, kept)
        finally:
            # What failed here, or was refused for now, may be tried again.
            if size <= LARGEST_ANSWER and status < 500 and status not in (401, 403, 408, 429):
                answer.messages = messages
            else:
                self._kept.pop(name, None)

    def _find(self, name: str) -> _Answer | None:
        answer = self._kept.get(name)
        if answer is not None and self._clock() - answer.began > KEPT_SECONDS:
            del self._kept[name]
            return None
        return answer


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestRefused(400, "the body of the request did not come")
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def receive_again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return receive_again
