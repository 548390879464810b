"""The settings of what is told to others over the network: MQTT and webhooks."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    field_validator,
    model_validator,
)

from ..events import EventType
from ..types import Verdict
from .groups import Group, Pause
from .urls import CameraUrl

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TOPIC = re.compile(r"[^+#\x00-\x1f\x7f/$][^+#\x00-\x1f\x7f]{0,199}")
MqttScheme = Literal["mqtt", "mqtts"]


def _url(value: Any) -> CameraUrl:
    if isinstance(value, CameraUrl):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a URL in quotes")
    return CameraUrl(value)


SecretUrl = Annotated[
    CameraUrl, PlainValidator(_url), PlainSerializer(str, return_type=str, when_used="json")
]
"""A URL with ``${NAME}`` or ``${file:/path}`` in place of secrets."""


class MqttSettings(Group):
    """Messages to an MQTT broker, e.g. for Home Assistant (docs/mqtt.md)."""

    url: SecretUrl | None = None
    """The broker: "mqtt://host" (port 1883), or "mqtts://host" (TLS, port 8883). Unset: no
    messages."""
    client_id: str = Field(default="facestream", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Name of this client; a broker disconnects an older client of the same name."""
    username: SecretStr | None = None
    """User at the broker; ``${NAME}`` is taken from the environment, ``${file:/path}`` from a
    file. It is never printed."""
    password: SecretStr | None = None
    """Its password, e.g. "${MQTT_PASSWORD}". It is never printed."""
    tls_ca: Path | None = None
    """File (PEM) with the broker's certificate or that of its CA. Unset: the system's CAs."""
    tls_verify: bool = Field(default=True, strict=True)
    """``false``: the broker's certificate is not checked."""
    prefix: str = "facestream"
    """First part of all topics."""
    presence_window: Pause = 30.0
    """Time after which somebody who left is not present any more, e.g. "30s"."""
    names: bool = Field(default=False, strict=True)
    """``true``: retained messages carry names, else numbers of people: whoever may read the broker
    may read what it retains, until it is cleared."""
    home_assistant: bool = Field(default=True, strict=True)
    """Announce cameras and people to Home Assistant (MQTT discovery)."""
    discovery_prefix: str = "homeassistant"
    """First part of the topics of Home Assistant's discovery."""
    frigate: bool = Field(default=False, strict=True)
    """Also publish named faces as Frigate does, on ``frigate/tracked_object_update``."""
    frigate_prefix: str = "frigate"
    """First part of that topic."""
    commands: bool = Field(default=False, strict=True)
    """Let ``PREFIX/CAMERA/set`` switch cameras on and off (``serve`` only): whoever may publish
    there, may."""
    max_waiting: int = Field(default=50000, ge=10, le=10_000_000, strict=True)
    """Messages that are kept on disk while the broker is away; further ones replace the oldest."""

    @field_validator("prefix", "discovery_prefix", "frigate_prefix")
    @classmethod
    def _topic(cls, topic: str) -> str:
        if not _TOPIC.fullmatch(topic) or topic.endswith("/"):
            raise ValueError("must be the beginning of a topic: no +, # or control characters")
        return topic


class WebhookSettings(Group):
    """A URL that gets events by POST, signed (docs/webhooks.md)."""

    name: str
    """Its name, in commands, metrics and files."""
    url: SecretUrl
    """Where to post to: https, unless ``allow_http`` is set."""
    secret: SecretStr
    """Key of the signature, at least 16 characters, or ``${NAME}`` or ``${file:/path}``."""
    events: tuple[EventType, ...] = ("appeared", "identified", "updated", "left")
    """Types of events that are sent."""
    cameras: tuple[str, ...] = ()
    """Only of these cameras. Empty: of all."""
    verdicts: tuple[Verdict, ...] = ()
    """Only sightings with these verdicts. Empty: with any."""
    template: str | None = None
    """The body, with ``$name``, ``$source`` and other fields of events. Unset: the event."""
    content_type: str = Field(default="application/json", pattern=r"^[\x21-\x7e][\x20-\x7e]{1,99}$")
    """The body's type. Values in a template are escaped for JSON where it is JSON."""
    timeout: float = Field(default=10.0, ge=0.1, le=120, strict=True)
    """Seconds that a request may take as a whole."""
    attempts: int = Field(default=10, ge=1, le=100, strict=True)
    """Attempts, before an event goes into the file of dead letters."""
    first_pause: Pause = 1.0
    """Time before the second attempt; later pauses are twice as long each, 10 minutes at most."""
    max_waiting: int = Field(default=10000, ge=1, le=1_000_000, strict=True)
    """Events that are kept on disk until they are sent; further ones replace the oldest."""
    allow_networks: tuple[str, ...] = ()
    """Networks (CIDR) of private addresses that may be posted to, e.g. ["192.168.1.0/24"]."""
    allow_http: bool = Field(default=False, strict=True)
    """Post to http URLs, too."""
    tls_ca: Path | None = None
    """File (PEM) with the server's certificate or that of its CA. Unset: the system's CAs."""

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("must be 1 to 64 letters, digits, - and _")
        return name

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if len(text) < 16 and not text.startswith("${"):
            raise ValueError("must have at least 16 characters")
        return secret

    @field_validator("allow_networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network, strict=False)
        return networks

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.events:
            raise ValueError("events: name at least one type")
        return self


def check_webhooks(webhooks: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
    """Raises ValueError where two have the same name."""
    names = [webhook.name.lower() for webhook in webhooks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two webhooks have the name {name!r}")
    return webhooks
