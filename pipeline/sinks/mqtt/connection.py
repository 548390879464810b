"""One connection to a broker: every message is acknowledged before the next one is sent."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from facestream.engines.closing import Closing

from ...core.addresses import Address
from ...core.config import MqttSettings, resolve_secret
from ...core.errors import ConfigError
from ...sources.http_client import reason_of
from ...sources.tls import Tls

if TYPE_CHECKING:
    import paho.mqtt.client as paho

PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEPALIVE = 30
ANSWER_SECONDS = 10.0
Incoming = Callable[[str, bytes], None]


class BrokerError(OSError):
    """The broker cannot be reached, or refuses; says so in one line."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and who connects.

    Attributes:
        tls: how its certificate is checked; None: without TLS.
    """

    address: Address
    client_id: str
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    tls: Tls | None

    @classmethod
    def of(cls, settings: MqttSettings, environment: Mapping[str, str]) -> Self:
        """From the settings, with secrets.

        Raises:
            ConfigError: the URL or a secret cannot be used.
        """
        assert settings.url is not None
        url = settings.url.resolve(environment, place="mqtt.url")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/"):
            raise ConfigError("mqtt.url: want mqtt://HOST[:PORT] or, with TLS, mqtts://HOST[:PORT]")
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if settings.username is not None:
            text = settings.username.get_secret_value()
            username = resolve_secret(text, environment, place="mqtt.username")
        if settings.password is not None:
            text = settings.password.get_secret_value()
            password = resolve_secret(text, environment, place="mqtt.password")
        if password is not None and username is None:
            raise ConfigError("mqtt.password needs mqtt.username, too")
        secure = parts.scheme == "mqtts"
        return cls(
            Address(parts.hostname, port or PORTS[parts.scheme]),
            settings.client_id,
            username,
            password,
            Tls(settings.tls_ca, settings.tls_verify) if secure else None,
        )


def need_paho() -> None:
    """Raises ConfigError where the extra ``mqtt`` is not installed."""
    if importlib.util.find_spec("paho") is None:
        raise ConfigError(
            "MQTT needs paho-mqtt, which is not installed: pip install 'facestream[mqtt]'"
        )


class BrokerConnection(Closing):
    """A connection that is not opened again: after an error, make another one.

    Args:
        broker: where to.
        will: topic and payload that the broker publishes, retained, when this client is lost.
        subscribe: topics whose messages ``incoming`` gets, in a thread of the connection.

    Raises:
        BrokerError: there is no broker, or it refuses.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        will: tuple[str, bytes],
        subscribe: tuple[str, ...] = (),
        incoming: Incoming | None = None,
    ) -> None:
        import paho.mqtt.client as paho  # optional, and slow to import
        from paho.mqtt.enums import CallbackAPIVersion

        self._changed = threading.Condition()
        self._connected: str | None = None  # "" where it is, else why not
        self._lost = False
        self._acknowledged: set[int] = set()
        self._broker = broker
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=True,
            reconnect_on_failure=False,
        )
        self._client = client
        client.will_set(*will, qos=1, retain=True)
        client.connect_timeout = ANSWER_SECONDS
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        if incoming is not None:
            client.on_message = _passing(incoming)
        try:
            if broker.tls is not None:
                client.tls_set_context(broker.tls.context())
                client.tls_insecure_set(not broker.tls.verify)
            client.connect(broker.address.host, broker.address.port, KEEPALIVE)
        except (OSError, ValueError) as error:
            why = reason_of(error, ANSWER_SECONDS, "no answer within")
            # `from None`, and no frames: they hold the socket, which paho does not close.
            clear_frames(error.__traceback__)
            raise BrokerError(f"the broker {broker.address} cannot be reached: {why}") from None
        client.loop_start()
        try:
            self._await_welcome()
            for topic in subscribe:
                client.subscribe(topic, qos=1)
        except BaseException:
            self.abandon()
            raise

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish at QoS 1, and wait until the broker has it.

        Raises:
            BrokerError: the connection was lost before.
        """
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        with self._changed:
            self._changed.wait_for(
                lambda: sent.mid in self._acknowledged or self._lost, ANSWER_SECONDS
            )
            if sent.mid not in self._acknowledged:
                why = "lost" if self._lost else f"silent for {ANSWER_SECONDS:g} s"
                raise BrokerError(f"the broker {self._broker.address} was {why}")
            self._acknowledged.discard(sent.mid)

    @property
    def lost(self) -> bool:
        """The connection ended."""
        return self._lost

    def close(self) -> None:
        """Disconnect, so that the will is not published."""
        self._client.disconnect()
        self._client.loop_stop()

    def abandon(self) -> None:
        """Drop the connection; the broker publishes the will."""
        with self._changed:
            self._lost = True
        channel = self._client.socket()
        if channel is not None:
            channel.close()
        self._client.loop_stop()

    def _await_welcome(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._connected is not None or self._lost, ANSWER_SECONDS
            )
            if self._connected != "":
                why = self._connected or "it does not answer as a broker"
                raise BrokerError(f"the broker {self._broker.address} refuses: {why}")

    def _on_connect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: Any, _p: Any
    ) -> None:
        with self._changed:
            self._connected = str(code).lower() if code.is_failure else ""
            self._changed.notify_all()

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, _code: Any, _p: Any
    ) -> None:
        with self._changed:
            self._lost = True
            self._changed.notify_all()

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, _code: Any, _p: Any) -> None:
        with self._changed:
            self._acknowledged.add(mid)
            self._changed.notify_all()


def _passing(incoming: Incoming) -> Callable[[paho.Client, Any, paho.MQTTMessage], None]:
    def on_message(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if not message.retain:  # an old command is none
            incoming(message.topic, bytes(message.payload[:64]))

    return on_message
