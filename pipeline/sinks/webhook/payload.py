"""The body of a webhook and its signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from string import Template

from ...core.config import WebhookSettings
from ...core.errors import ConfigError
from ...core.events import (
    Appeared,
    EventBase,
    Identified,
    Left,
    OutputStateEvent,
    SourceStateEvent,
    Updated,
)

KINDS: tuple[type[EventBase], ...] = (
    *(Appeared, Identified, Updated, Left),
    *(SourceStateEvent, OutputStateEvent),
)
FIELDS = frozenset(field for kind in KINDS for field in kind.model_fields) - {"embedding"}
SIGNATURE, TIMESTAMP = "X-Facestream-Signature", "X-Facestream-Timestamp"
DELIVERY, ATTEMPT, KIND = "X-Facestream-Delivery", "X-Facestream-Attempt", "X-Facestream-Event"


def check_template(webhook: WebhookSettings) -> None:
    """Raises ConfigError where the template is none, or names what no event has."""
    if webhook.template is None:
        return
    template = Template(webhook.template)
    if not template.is_valid():
        raise ConfigError(f"webhook {webhook.name!r}: template: write a $ that is none as $$")
    for name in template.get_identifiers():
        if name not in FIELDS:
            raise ConfigError(
                f"webhook {webhook.name!r}: template: events have no field ${name}; "
                f"they have {', '.join(sorted(FIELDS))}"
            )


def body_of(event: str, webhook: WebhookSettings) -> bytes:
    """The body for an event in JSON; fields that it does not have are empty in a template."""
    if webhook.template is None:
        return event.encode()
    escaped = "json" in webhook.content_type
    values = dict.fromkeys(FIELDS, "")
    for name, value in json.loads(event).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        values[name] = json.dumps(text, ensure_ascii=False)[1:-1] if escaped else text
    return Template(webhook.template).substitute(values).encode("utf-8", "replace")


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """``v1=`` and HMAC-SHA256 in hex, over the timestamp, a dot and the body."""
    content = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
