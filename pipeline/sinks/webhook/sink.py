"""Events for a URL: posted in the order of their cameras, tried again, and kept where given up."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from facestream.engines.private_files import private

from ...core.config import Settings, WebhookSettings, resolve_secret
from ...core.errors import ConfigError, OutputError, UsageError
from ...core.events import Event, SightingEvent, SourceStateEvent
from ...core.versions import facestream_version
from ...metrics.store import Metrics
from ...sources.tls import Tls
from ..base import Sink
from ..delivery_counts import DeliveryCounts
from ..locks import OutputLock
from ..outbox import Outbox, Outgoing, outbox_folder, without_embedding
from .payload import (
    ATTEMPT,
    DELIVERY,
    KIND,
    SIGNATURE,
    TIMESTAMP,
    body_of,
    check_template,
    signature,
)
from .request import HookTarget, RequestFailed, post

log = logging.getLogger(__name__)

LONGEST_PAUSE = 600.0
DRAIN_SECONDS = 5.0
ERROR_PAUSE = 5.0
DEAD_BYTES = 50_000_000
AGAIN = frozenset({408, 409, 425, 429})
"""Refusals that may pass; other answers with 3xx and 4xx do not."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of an attempt.

    Attributes:
        status: of the answer; None where there was none.
        seconds: it took.
        problem: in words; None: it was taken.
        final: another attempt would fail, too.
        after: seconds after which the server wants to be asked again.
    """

    status: int | None
    seconds: float
    problem: str | None = None
    final: bool = False
    after: float | None = None


class Webhook:
    """A URL of the settings, ready to be posted to.

    Raises:
        ConfigError: a setting or a secret cannot be used.
    """

    def __init__(
        self, settings: WebhookSettings, environment: Mapping[str, str] | None = None
    ) -> None:
        environment = os.environ if environment is None else environment
        place = f"webhook {settings.name!r}"
        self.settings = settings
        check_template(settings)
        self._secret = resolve_secret(
            settings.secret.get_secret_value(), environment, place=f"{place}: secret"
        )
        if len(self._secret) < 16:
            raise ConfigError(f"{place}: secret: must have at least 16 characters")
        url = settings.url.resolve(environment, place=f"{place}: url")
        try:
            self.target = HookTarget.of(
                url,
                networks=settings.allow_networks,
                allow_http=settings.allow_http,
                tls=Tls(settings.tls_ca),
                timeout=settings.timeout,
            )
        except ConfigError as error:
            raise ConfigError(f"{place}: url {error}") from None

    def wants(self, event: Event) -> bool:
        """True for an event that is to be posted."""
        wanted = self.settings
        if event.type not in wanted.events:
            return False
        if wanted.cameras and event.source not in wanted.cameras:
            return False
        return not wanted.verdicts or (
            isinstance(event, SightingEvent) and event.verdict in wanted.verdicts
        )

    def deliver(self, event: str, *, delivery: str, attempt: int = 1) -> DeliveryResult:
        """Post an event, given in JSON, once."""
        body = body_of(event, self.settings)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": self.settings.content_type,
            "User-Agent": f"facestream/{facestream_version()}",
            TIMESTAMP: timestamp,
            SIGNATURE: signature(self._secret, timestamp, body),
            DELIVERY: delivery,
            ATTEMPT: str(attempt),
            KIND: json.loads(event)["type"],
        }
        began = time.monotonic()
        try:
            status, after = post(self.target, body, headers)
        except RequestFailed as error:
            return DeliveryResult(None, time.monotonic() - began, str(error))
        seconds = time.monotonic() - began
        if 200 <= status < 300:
            return DeliveryResult(status, seconds)
        what = "redirects are not followed" if 300 <= status < 400 else "the server refuses"
        final = 300 <= status < 500 and status not in AGAIN
        return DeliveryResult(status, seconds, f"{what} ({status})", final, after)


class WebhookSink(Sink):
    """Posts events in a thread of its own; what cannot be sent waits on disk.

    A camera's events keep their order: one that fails holds the next of its camera back, until it
    is taken or given up, which writes it into ``webhook-NAME.dead.jsonl``.

    Args:
        settings: the run's, for the folder.
        counts: where messages are counted.
        environment: with secrets.

    Raises:
        UsageError: a setting cannot be used, or another run posts these events.
    """

    def __init__(
        self,
        webhook: WebhookSettings,
        settings: Settings,
        counts: DeliveryCounts | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.output = f"webhook {webhook.name}"
        self._counts = counts or DeliveryCounts()
        self._webhook = Webhook(webhook, environment)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._until: float | None = None
        self._troubled = False
        with ExitStack() as stack:
            folder = outbox_folder(settings)
            path = folder / f"webhook-{webhook.name}.db"
            self.dead = dead_letters(folder, webhook.name)
            self._outbox = stack.enter_context(Outbox(path, limit=webhook.max_waiting))
            stack.enter_context(OutputLock(path))
            self._counts.watch(self.output, lambda: self._outbox.waiting)
            stack.callback(self._counts.unwatch, self.output)
            self._thread = threading.Thread(target=self._run, name=self.output, daemon=True)
            self._thread.start()
            stack.callback(self._stop)
            self._resources = stack.pop_all()

    def count_in(self, metrics: Metrics) -> None:
        self._counts.expose_in(metrics.registry)

    def event(self, event: Event) -> None:
        if not self._webhook.wants(event):
            return
        about = event if isinstance(event, SightingEvent) else None
        dropped = self._outbox.put(
            event.id,
            without_embedding(event).to_json().encode(),
            lane=event.source,
            sighting=None if about is None else about.sighting,
            person=None if about is None else about.person_id,
        )
        if dropped:
            self._counts.add(self.output, "dropped", dropped)
        self._wake.set()

    def close(self) -> None:
        """Send what is due, for at most 5 seconds; the rest is sent by the next run."""
        self._resources.close()

    def _stop(self) -> None:
        self._until = time.monotonic() + DRAIN_SECONDS
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                message = self._outbox.next_due(time.time())
                if message is not None:
                    self._send(message)
            except OutputError as error:
                log.warning("%s: %s", self.output, error)
                message = None
                self._stopping.wait(ERROR_PAUSE)
            closing = self._until is not None
            if closing and (message is None or time.monotonic() > (self._until or 0.0)):
                return
            if message is None:
                self._wake.wait(0.2)
                self._wake.clear()

    def _send(self, message: Outgoing) -> None:
        wanted = self._webhook.settings
        attempt = message.attempts + 1
        text = message.payload.decode()
        try:
            result = self._webhook.deliver(text, delivery=message.topic, attempt=attempt)
        except Exception as error:  # noqa: BLE001 - it must not end the thread
            result = DeliveryResult(None, 0.0, f"{type(error).__name__}: {error}", final=True)
        if result.problem is None:
            self._outbox.done(message)
            self._counts.add(self.output, "sent")
            self._troubled = False
            return
        if not self._troubled:
            self._troubled = True
            log.warning("%s: %s; events are kept", self.output, result.problem)
        if result.final or attempt >= wanted.attempts:
            self._bury(text, attempt, result.problem)
            self._outbox.done(message)
            self._counts.add(self.output, "dead")
            return
        pause = min(wanted.first_pause * 2 ** min(attempt - 1, 30), LONGEST_PAUSE)
        pause *= random.uniform(0.75, 1.25)
        pause = max(pause, min(result.after or 0.0, LONGEST_PAUSE))
        self._outbox.later(message, time.time() + pause)
        self._counts.add(self.output, "failed")

    def _bury(self, text: str, attempts: int, reason: str) -> None:
        letter = json.loads(text)
        letter["dead_letter"] = {
            "webhook": self._webhook.settings.name,
            "utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "attempts": attempts,
            "reason": reason,
        }
        try:
            with OutputLock(self.dead):  # `forget` may rewrite it
                if self.dead.exists() and self.dead.stat().st_size > DEAD_BYTES:
                    self.dead.replace(self.dead.with_suffix(".1.jsonl"))
                with open(self.dead, "a", encoding="utf-8", opener=private) as file:
                    file.write(json.dumps(letter, ensure_ascii=False) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.dead}: {error.strerror}") from error


def dead_letters(folder: Path, name: str) -> Path:
    """The file of the events that a webhook gave up."""
    return folder / f"webhook-{name}.dead.jsonl"


def try_webhook(
    settings: Settings, name: str, environment: Mapping[str, str] | None = None
) -> DeliveryResult:
    """Post a made-up event to a webhook of the settings, once.

    Raises:
        UsageError: there is no such webhook, or it cannot be used.
    """
    for webhook in settings.webhooks:
        if webhook.name == name:
            event = SourceStateEvent(
                source="test", utc=datetime.now(UTC), state="live", reason="a test of this webhook"
            )
            return Webhook(webhook, environment).deliver(event.to_json(), delivery=event.id)
    known = ", ".join(webhook.name for webhook in settings.webhooks) or "none"
    raise UsageError(f"the settings have no webhook {name!r}; they have: {known}")
