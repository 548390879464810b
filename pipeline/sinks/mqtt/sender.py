"""The thread that keeps a connection to the broker, and sends what waits."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from facestream.engines.closing import Closing

from ...core.errors import OutputError
from ..delivery_counts import DeliveryCounts
from ..outbox import Outbox
from .connection import Broker, BrokerConnection, BrokerError, Incoming

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
TICK = 0.5
ONLINE, OFFLINE = b"online", b"offline"


class MqttSender(Closing):
    """Sends states first, then messages in their order; what is not acknowledged is sent again.

    Args:
        status: the topic of the availability; the broker publishes ``offline`` there when this
            process is lost.
        tick: called about twice a second, connected or not.
        subscribe: topics whose messages ``incoming`` gets.
    """

    def __init__(
        self,
        broker: Broker,
        outbox: Outbox,
        counts: DeliveryCounts,
        *,
        status: str,
        tick: Callable[[], None],
        subscribe: tuple[str, ...] = (),
        incoming: Incoming | None = None,
    ) -> None:
        self._broker = broker
        self._outbox = outbox
        self._counts = counts
        self._status = status
        self._tick = tick
        self._subscribe = subscribe
        self._incoming = incoming
        self._wake = threading.Event()
        self._until: float | None = None  # when closing ends
        self._pause = FIRST_PAUSE
        self._troubled = False
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something is to be sent."""
        self._wake.set()

    def close(self, seconds: float = 5.0) -> None:
        """Send what waits, for at most so long; the rest stays on disk."""
        self._until = time.monotonic() + seconds
        self._wake.set()
        self._thread.join()

    def _over(self) -> bool:
        return self._until is not None and (
            time.monotonic() > self._until or self._outbox.waiting == 0
        )

    def _run(self) -> None:
        # At least one attempt, so that the broker learns that nobody is here any more.
        while True:
            try:
                self._connected()
                return
            except (BrokerError, OutputError) as error:
                self._counts.add("mqtt", "failed")
                if not self._troubled:
                    self._troubled = True
                    log.warning("mqtt: %s; messages are kept, it is tried again", str(error))
            if self._until is not None and (
                self._over() or time.monotonic() + self._pause > self._until
            ):
                return
            self._rest(self._pause * random.uniform(0.5, 1.0))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._until is None:
            self._ticked()
            self._wake.wait(min(left, TICK))
            self._wake.clear()

    def _connected(self) -> None:
        """Serve one connection until this is closed; raises BrokerError when it is lost."""
        connection = BrokerConnection(
            self._broker,
            will=(self._status, OFFLINE),
            subscribe=self._subscribe,
            incoming=self._incoming,
        )
        try:
            self._outbox.send_states_again()
            connection.publish(self._status, ONLINE, retain=True)
            if self._troubled:
                log.warning("mqtt: the broker %s is there again", self._broker.address)
            self._troubled, self._pause = False, FIRST_PAUSE
            while not self._over():
                self._ticked()
                if not self._send_one(connection):
                    self._wake.wait(TICK)
                    self._wake.clear()
                if connection.lost:
                    raise BrokerError(f"the broker {self._broker.address} was lost")
            connection.publish(self._status, OFFLINE, retain=True)
        except BaseException:
            connection.abandon()
            raise
        connection.close()

    def _send_one(self, connection: BrokerConnection) -> bool:
        state = self._outbox.next_state()
        if state is not None:
            connection.publish(state.topic, state.payload, retain=True)
            self._outbox.state_sent(state)
            return True
        message = self._outbox.next()
        if message is None:
            return False
        connection.publish(message.topic, message.payload, retain=False)
        self._outbox.done(message)
        self._counts.add("mqtt", "sent")
        return True

    def _ticked(self) -> None:
        try:
            self._tick()
        except OutputError as error:
            log.debug("mqtt: %s", error)
