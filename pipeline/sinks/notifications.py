"""MQTT and webhooks of the settings together: opened for a run or the service, and forgetting."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from facestream.engines.closing import Closing

from ..core.config import Settings
from ..core.errors import OutputError, UsageError
from ..core.events import Event
from ..sightings.forget import Forgotten
from .base import Sink
from .delivery_counts import DeliveryCounts
from .forgetting import forget_in_events
from .mqtt.sink import CameraSwitch, MqttSink
from .outbox import Outbox, outbox_folder
from .webhook.sink import WebhookSink

log = logging.getLogger(__name__)


def notification_sinks(
    settings: Settings, counts: DeliveryCounts, *, cameras: CameraSwitch | None = None
) -> Iterator[Sink]:
    """Open the sinks that the settings name, one after another.

    Args:
        cameras: what MQTT's commands switch.

    Raises:
        UsageError: a setting cannot be used.
    """
    if settings.mqtt.url is not None:
        yield MqttSink(settings, counts, cameras=cameras)
    for webhook in settings.webhooks:
        yield WebhookSink(webhook, settings, counts)


class Notifications(Closing):
    """All of them, for a process whose cameras come and go.

    Attributes:
        counts: of messages.
    """

    def __init__(self, settings: Settings, *, cameras: CameraSwitch | None = None) -> None:
        self.counts = DeliveryCounts()
        self._sinks: list[Sink] = []
        self._failing: set[str] = set()
        with ExitStack() as stack:
            for sink in notification_sinks(settings, self.counts, cameras=cameras):
                self._sinks.append(stack.enter_context(sink))
            self._resources = stack.pop_all()

    def event(self, event: Event) -> None:
        """Something happened; what one of them cannot keep is counted and does not stop others."""
        for sink in self._sinks:
            try:
                sink.event(event)
                self._failing.discard(sink.output)
            except Exception as error:  # noqa: BLE001 - it is this output's alone
                self.counts.add(sink.output, "dropped")
                if sink.output not in self._failing:
                    self._failing.add(sink.output)
                    log.warning("%s: an event is lost: %s", sink.output, error)

    def close(self) -> None:
        """Send what waits, for at most some seconds; the rest is kept."""
        self._resources.close()


def forget_messages(settings: Settings, gone: Forgotten) -> Mapping[str, Mapping[str, int]]:
    """Remove what waits about forgotten people and sightings, and clear retained MQTT messages.

    The process that publishes clears them within a second. Where none does, that is done here, in
    at most some seconds; an absent broker gets it from the next process that publishes.

    Returns:
        What was done, by file.

    Raises:
        UsageError: a file cannot be changed.
    """
    done: dict[str, Mapping[str, int]] = {}
    folder = outbox_folder(settings)
    if not folder.is_dir():
        return done
    for path in sorted(folder.glob("*.db")):
        with Outbox(path) as outbox:
            messages, states = outbox.forget(
                gone.sightings, gone.person_id, lambda payload: _mentions(payload, gone)
            )
        done[str(path)] = {"messages": messages, "retained": states}
    for path in sorted(folder.glob("*.dead*.jsonl")):
        done[str(path)] = forget_in_events(path, gone)
    if settings.mqtt.url is not None and any(one.get("retained") for one in done.values()):
        try:
            MqttSink(settings).close()
        except OutputError as error:  # another process publishes, and clears them
            log.debug("mqtt: %s", error)
        except UsageError as error:
            log.warning("%s; the next run that publishes clears what the broker retains", error)
    return done


def _mentions(payload: bytes, gone: Forgotten) -> bool:
    """A retained value names the person, maybe among others."""
    text = payload.decode("utf-8", "replace")
    labels = {gone.name, None if gone.person_id is None else f"person {gone.person_id}"}
    try:
        found = json.loads(text)
    except ValueError:
        return bool(labels & set(text.split(", ")))
    if not isinstance(found, dict):
        return False
    people = [*found.get("people", ()), found.get("last") or {}, found]
    return gone.person_id is not None and any(
        isinstance(one, dict) and one.get("person_id") == gone.person_id for one in people
    )
