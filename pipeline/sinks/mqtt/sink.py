"""Events and presence for an MQTT broker."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Protocol

from ...core.config import Settings
from ...core.errors import OutputError
from ...core.events import Event, Identified, Left, SightingEvent, Updated
from ...metrics.store import Metrics
from ..base import Sink
from ..delivery_counts import DeliveryCounts
from ..locks import OutputLock
from ..outbox import Outbox, outbox_folder, without_embedding
from .connection import Broker, need_paho
from .discovery import Discovery
from .presence import CameraPresence, Presence, SeenPerson
from .sender import MqttSender
from .topics import Topics, topic_part

log = logging.getLogger(__name__)

NOBODY, UNKNOWN = "nobody", "unknown"


class CameraSwitch(Protocol):
    """What commands may do."""

    def camera_names(self) -> list[str]:
        """The cameras that can be switched."""

    def is_on(self, name: str) -> bool:
        """True for a camera that is to run."""

    def switch(self, name: str, *, on: bool) -> None:
        """Start or stop it."""


class MqttSink(Sink):
    """Publishes every event, who is present, and the health of cameras; see docs/mqtt.md.

    What cannot be sent waits on disk, also beyond the end of this process.

    Args:
        settings: with ``mqtt.url``.
        counts: where messages are counted.
        cameras: what commands switch, where ``mqtt.commands`` allows them.
        environment: with secrets.

    Raises:
        UsageError: a setting cannot be used, or another run sends these messages.
    """

    output = "mqtt"

    def __init__(
        self,
        settings: Settings,
        counts: DeliveryCounts | None = None,
        *,
        cameras: CameraSwitch | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        need_paho()
        wanted = settings.mqtt
        broker = Broker.of(wanted, os.environ if environment is None else environment)
        if broker.tls is None and broker.password and not broker.address.loopback:
            log.warning("mqtt: the password travels unencrypted; use mqtts:// (TLS)")
        self._settings = wanted
        self._counts = counts or DeliveryCounts()
        self._cameras = cameras if wanted.commands else None
        self._topics = Topics(wanted.prefix)
        self._discovery = Discovery(wanted, self._topics) if wanted.home_assistant else None
        self._presence = Presence(wanted.presence_window)
        self._lock = threading.RLock()
        self._present: dict[int, tuple[SeenPerson, str]] = {}
        self._strangers: set[str] = set()
        self._closed = False
        self._announced: set[tuple[str, bool]] = set()
        self._commands: deque[tuple[str, bytes]] = deque(maxlen=100)
        with ExitStack() as stack:
            path = outbox_folder(settings) / f"mqtt-{wanted.client_id}.db"
            self._outbox = stack.enter_context(Outbox(path, limit=wanted.max_waiting))
            stack.enter_context(OutputLock(path))
            self._forgotten, _ = self._outbox.forgotten(None)
            self._resume()
            self._counts.watch(self.output, lambda: self._outbox.waiting)
            stack.callback(self._counts.unwatch, self.output)
            sender = MqttSender(
                broker,
                self._outbox,
                self._counts,
                status=self._topics.status,
                tick=self._tick,
                subscribe=() if self._cameras is None else (self._topics.commands,),
                incoming=lambda topic, payload: self._commands.append((topic, payload)),
            )
            self._sender = stack.enter_context(sender)
            self._resources = stack.pop_all()

    def count_in(self, metrics: Metrics) -> None:
        self._counts.expose_in(metrics.registry)

    def event(self, event: Event) -> None:
        with self._lock, self._outbox.together():
            self._presence.event(event, now=time.monotonic(), at=datetime.now(UTC))
            self._message(self._topics.event, without_embedding(event).to_json(), event)
            if event.source:
                self._announce(event)
                self._publish(event.source)
                self._publish_people()
        self._sender.wake()

    def close(self) -> None:
        """Say that nobody is seen any more; send what waits, for at most 5 seconds."""
        if not self._closed:
            self._closed = True
            try:
                with self._lock, self._outbox.together():
                    for name, camera in self._presence.cameras.items():
                        camera.faces.clear()
                        self._publish(name)
                    self._publish_people()
            except OutputError as error:
                log.warning("mqtt: %s", error)
        self._resources.close()

    def _message(self, topic: str, payload: str, event: Event) -> None:
        person = event.person_id if isinstance(event, SightingEvent) else None
        sighting = event.sighting if isinstance(event, SightingEvent) else None
        dropped = self._outbox.put(
            topic, _bytes(payload), lane=event.source, sighting=sighting, person=person
        )
        if dropped:
            self._counts.add(self.output, "dropped", dropped)

    def _announce(self, event: Event) -> None:
        """Visitors, and what Frigate would say."""
        if not isinstance(event, SightingEvent):
            return
        if event.verdict == "stranger" and event.sighting not in self._strangers:
            self._strangers.add(event.sighting)
            content: dict[str, Any] = {
                "event_type": "stranger",
                "camera": event.source,
                "sighting": event.sighting,
            }
            self._message(self._topics.camera(event.source, "visitor"), _json(content), event)
        if isinstance(event, Left):
            self._strangers.discard(event.sighting)
        named = isinstance(event, Identified | Updated) and event.known
        if self._settings.frigate and named:
            update = {
                "type": "face",
                "id": event.sighting,
                "name": event.name,
                "score": round(event.probability, 4),
                "camera": event.source,
                "timestamp": time.time(),
            }
            topic = f"{self._settings.frigate_prefix}/tracked_object_update"
            self._message(topic, _json(update), event)

    # --- states ------------------------------------------------------------------------------

    def _publish(self, name: str) -> None:
        """The states of a camera."""
        camera = self._presence.cameras[name]
        people = [self._label(person) for person in camera.people]
        present = ", ".join(people + [UNKNOWN] * bool(camera.unknown)) or NOBODY
        self._outbox.set_state(self._topics.camera(name, "person"), _bytes(present))
        attributes = {
            "camera": name,
            "people": [self._person(person) for person in camera.people],
            "unknown": camera.unknown,
            "last": None if camera.last is None else self._person(camera.last),
        }
        self._outbox.set_state(self._topics.camera(name, "attributes"), _bytes(_json(attributes)))
        health = camera.state or UNKNOWN
        self._outbox.set_state(self._topics.camera(name, "health"), health.encode())
        switch = self._cameras is not None and name in self._cameras.camera_names()
        if self._discovery is not None and (name, switch) not in self._announced:
            self._announced.add((name, switch))
            for topic, payload in self._discovery.camera(name, switch=switch).items():
                self._outbox.set_state(topic, payload)

    def _publish_people(self) -> None:
        """The states of all people who are or were present."""
        now = self._presence.present()
        for number in self._present.keys() - now.keys():
            topic = self._topics.person(number, "presence")
            self._outbox.set_state(topic, b"OFF", person=number, known_only=True)
        for number, (person, camera) in now.items():
            if self._present.get(number) == (person, camera):
                continue
            for topic, payload in {
                self._topics.person(number, "presence"): b"ON",
                self._topics.person(number, "attributes"): _bytes(
                    _json({**self._person(person), "camera": camera})
                ),
                **(
                    {}
                    if self._discovery is None
                    else self._discovery.person(number, self._label(person))
                ),
            }.items():
                self._outbox.set_state(topic, payload, person=number)
        self._present = now

    def _label(self, person: SeenPerson) -> str:
        return person.name if self._settings.names and person.name else f"person {person.id}"

    def _person(self, person: SeenPerson) -> dict[str, Any]:
        return {
            "person_id": person.id,
            **({"name": person.name} if self._settings.names and person.name else {}),
            "similarity": round(person.similarity, 3),
            "seen": person.at.isoformat(timespec="seconds"),
        }

    def _resume(self) -> None:
        """Nobody is present any more; who was seen last is kept."""
        prefix = f"{self._settings.prefix}/"
        for topic, payload in self._outbox.states().items():
            person = re.fullmatch(re.escape(prefix) + r"person/(\d+)/presence", topic)
            if person is not None and payload:
                self._outbox.set_state(topic, b"OFF", person=int(person[1]))
            elif topic.startswith(prefix) and topic.endswith("/attributes"):
                found = json.loads(payload or b"{}")
                if "people" in found:
                    last = found["last"]
                    camera = CameraPresence(last=None if last is None else _last(last))
                    self._presence.cameras[found["camera"]] = camera
        for name in self._presence.cameras:
            self._publish(name)

    # --- about twice a second, in the thread of the sender ------------------------------------

    def _tick(self) -> None:
        with self._lock:
            self._forgotten, people = self._outbox.forgotten(self._forgotten)
            for number in people:
                self._presence.forget(number)
                self._present.pop(number, None)
            changed = set(self._presence.cameras) if people else set()
            changed |= self._presence.tick(time.monotonic())
            for name in changed:
                self._publish(name)
            if changed:
                self._publish_people()
            while self._commands:
                self._command(*self._commands.popleft())
            if self._cameras is not None:
                for name in self._cameras.camera_names():
                    state = b"ON" if self._cameras.is_on(name) else b"OFF"
                    self._outbox.set_state(self._topics.camera(name, "enabled"), state)
                    if name not in self._presence.cameras:
                        self._presence.cameras[name] = CameraPresence()
                        self._publish(name)

    def _command(self, topic: str, payload: bytes) -> None:
        assert self._cameras is not None
        on = {b"ON": True, b"OFF": False}.get(payload.strip().upper())
        part = topic.split("/")[-2]
        names = [name for name in self._cameras.camera_names() if topic_part(name) == part]
        if on is None or not names:
            log.warning("mqtt: a command for no camera, or neither ON nor OFF, was ignored")
            return
        log.info("mqtt: a command switches %s %s", names[0], "on" if on else "off")
        self._cameras.switch(names[0], on=on)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)


def _last(found: dict[str, Any]) -> SeenPerson:
    return SeenPerson(
        found["person_id"],
        found.get("name", ""),
        found["similarity"],
        datetime.fromisoformat(found["seen"]),
    )
