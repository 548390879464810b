"""``facestream webhook``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .flags import Config, Json, argument, command_group, examples

webhook_app = command_group(
    "webhook",
    "URLs that get events, [[webhooks]] of the settings.",
    epilog=examples("facestream webhook test phone --config house.toml"),
)


@webhook_app.command(
    "test",
    epilog=examples(
        "facestream webhook test phone --config house.toml",
        "Exit status: 0 it was taken, 1 it was not.",
    ),
)
def try_one(
    name: Annotated[str, argument("NAME", "The webhook.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Post a made-up event, signed, to a webhook, once."""
    from dataclasses import asdict

    from ..core.config import load_settings
    from ..sinks.webhook.sink import try_webhook
    from .console import print_json, say, warn
    from .errors import FAILED

    result = try_webhook(load_settings(file=config, environment=os.environ), name)
    if as_json:
        print_json(asdict(result))
    elif result.problem is None:
        say(f"{name}: taken ({result.status}, {1000 * result.seconds:.0f} ms)")
    else:
        warn(f"{name}: {result.problem}")
    raise typer.Exit(0 if result.problem is None else FAILED)
