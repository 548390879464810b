"""Home Assistant's MQTT discovery: a device for each camera and each person."""

from __future__ import annotations

import json
from typing import Any

from ...core.config import MqttSettings
from ...core.versions import facestream_version
from .topics import Topics, object_id, topic_part


class Discovery:
    """Makes the configuration that Home Assistant reads."""

    def __init__(self, settings: MqttSettings, topics: Topics) -> None:
        self._settings = settings
        self._topics = topics
        self._node = object_id(settings.client_id)

    def camera(self, name: str, *, switch: bool) -> dict[str, bytes]:
        """Topic to payload: who is there, health, visitors; the switch where it can be used."""
        part = object_id(topic_part(name))
        device = {
            "identifiers": [f"{self._node}_camera_{part}"],
            "name": name,
            "manufacturer": "facestream",
            "model": "camera",
        }
        at = self._topics.camera
        entities: list[tuple[str, str, dict[str, Any]]] = [
            (
                "sensor",
                "person",
                {
                    "name": "Person",
                    "icon": "mdi:face-recognition",
                    "state_topic": at(name, "person"),
                    "json_attributes_topic": at(name, "attributes"),
                },
            ),
            (
                "sensor",
                "health",
                {
                    "name": "Health",
                    "icon": "mdi:cctv",
                    "entity_category": "diagnostic",
                    "state_topic": at(name, "health"),
                },
            ),
            (
                "event",
                "visitor",
                {
                    "name": "Unknown visitor",
                    "icon": "mdi:account-question",
                    "event_types": ["stranger"],
                    "state_topic": at(name, "visitor"),
                },
            ),
        ]
        if switch:
            command = {
                "name": "Enabled",
                "icon": "mdi:cctv",
                "state_topic": at(name, "enabled"),
                "command_topic": at(name, "set"),
            }
            entities.append(("switch", "enabled", command))
        return dict(
            self._config(kind, f"camera_{part}", leaf, device, entity)
            for kind, leaf, entity in entities
        )

    def person(self, number: int, label: str) -> dict[str, bytes]:
        """Topic to payload: the presence of a person, with the last camera as an attribute."""
        device = {
            "identifiers": [f"{self._node}_person_{number}"],
            "name": label,
            "manufacturer": "facestream",
            "model": "person",
        }
        entity = {
            "name": "Presence",
            "device_class": "occupancy",
            "state_topic": self._topics.person(number, "presence"),
            "json_attributes_topic": self._topics.person(number, "attributes"),
        }
        return dict([self._config("binary_sensor", f"person_{number}", "presence", device, entity)])

    def _config(
        self, kind: str, thing: str, leaf: str, device: dict[str, Any], entity: dict[str, Any]
    ) -> tuple[str, bytes]:
        topic = f"{self._settings.discovery_prefix}/{kind}/{self._node}/{thing}_{leaf}/config"
        content = {
            **entity,
            "unique_id": f"{self._node}_{thing}_{leaf}",
            "device": device,
            "origin": {"name": "facestream", "sw_version": facestream_version()},
            "availability_topic": self._topics.status,
            "qos": 1,
        }
        return topic, json.dumps(content, ensure_ascii=False).encode()
