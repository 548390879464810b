"""The flags of ``facestream serve``; what it does is in ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .flags import Config, Database, Json, argument, command_group, examples

RoleName = Literal["viewer", "operator", "admin"]

serve_app = typer.Typer(
    name="serve",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
key_app = command_group(
    "key",
    "Keys of machines that ask the service.",
    epilog=examples("facestream serve key add panel --role viewer --camera door --expires 90d"),
)
user_app = command_group(
    "user",
    "People who log in.",
    epilog=examples("facestream serve user add ada --role admin --db house.db"),
)
serve_app.add_typer(key_app)
serve_app.add_typer(user_app)

Role = Annotated[
    RoleName,
    typer.Option(
        "--role",
        help="viewer looks and identifies, operator also changes people and cameras, admin does "
        "everything.",
    ),
]
Scope = Annotated[
    list[str] | None,
    typer.Option("--camera", metavar="NAME", help="Only this camera; repeatable. \\[all]"),
]


@serve_app.callback(
    invoke_without_command=True,
    epilog=examples(
        "facestream serve --db house.db   (then: curl http://127.0.0.1:8090/api/v1/people)",
        "facestream serve --config house.toml --db house.db",
        "facestream serve key add admin --role admin --db house.db",
        "facestream serve --db house.db --listen 0.0.0.0:8090 --tls-cert c.pem --tls-key k.pem",
        "Without a key or a user it answers this machine only. Its API is described at "
        "/openapi.json and in docs/service.md.",
    ),
)
def serve(
    context: typer.Context,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="[HOST]:PORT", help="Where to listen; 0.0.0.0:PORT for all."
        ),
    ] = "127.0.0.1:8090",
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE.pem", help="Certificate (chain), for HTTPS."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE.pem", help="Its private key.")
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(
            "--mqtt", metavar="URL", help="MQTT broker for events and presence, mqtt(s)://HOST."
        ),
    ] = None,
    db: Database = None,
    config: Config = None,
) -> None:
    """Serve a REST API over people, sightings and the cameras of the settings, which it runs."""
    if context.invoked_subcommand is not None:
        return
    from .serve import serve_until_stopped

    flags: dict[str, Any] = {"storage.database": db, "mqtt.url": mqtt}
    serve_until_stopped(listen, tls=(tls_cert, tls_key), config=config, flags=flags)


@key_app.command("add", epilog=examples("facestream serve key add panel --role viewer"))
def add_key(
    name: Annotated[str, argument("NAME", "What the key is for.")],
    role: Role = "viewer",
    camera: Scope = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="E.g. 12h, 90d, 2027-01-31. \\[never]"),
    ] = None,
    db: Database = None,
    config: Config = None,
) -> None:
    """Make a key and print it, this once."""
    from .serve import make_key

    make_key(db, config, name, role=role, cameras=camera, expires=expires)


@key_app.command("list", epilog=examples("facestream serve key list --db house.db"))
def list_keys(as_json: Json = False, db: Database = None, config: Config = None) -> None:
    """List all keys, without their secrets."""
    from .serve import show_keys

    show_keys(db, config, as_json=as_json)


@key_app.command("revoke", epilog=examples("facestream serve key revoke panel --db house.db"))
def revoke_key(
    name: Annotated[str, argument("NAME", "The key.")], db: Database = None, config: Config = None
) -> None:
    """Refuse a key from now on."""
    from .serve import end_key

    end_key(db, config, name)


@user_app.command("add", epilog=examples("facestream serve user add ada --role operator"))
def add_user(
    name: Annotated[str, argument("NAME", "The name to log in with.")],
    role: Role = "viewer",
    camera: Scope = None,
    db: Database = None,
    config: Config = None,
) -> None:
    """Make a user, or give one a new password, which is asked for or read from stdin."""
    from .serve import make_user

    make_user(db, config, name, role=role, cameras=camera)


@user_app.command("list", epilog=examples("facestream serve user list --db house.db"))
def list_users(db: Database = None, config: Config = None) -> None:
    """List all users."""
    from .serve import show_users

    show_users(db, config)


@user_app.command("remove", epilog=examples("facestream serve user remove ada --db house.db"))
def remove_user(
    name: Annotated[str, argument("NAME", "The user.")], db: Database = None, config: Config = None
) -> None:
    """Remove a user; open sessions end."""
    from .serve import end_user

    end_user(db, config, name)


@serve_app.command(
    "audit",
    epilog=examples(
        "facestream serve audit --db house.db > audit.jsonl",
        "facestream serve audit --verify --db house.db",
        "Status 3: an entry was changed or is missing. Note the hash that --verify prints outside "
        "of the database: whoever may write the file can make a whole new log.",
    ),
)
def audit(
    verify: Annotated[bool, typer.Option("--verify", help="Check that it is whole.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many.")
    ] = None,
    db: Database = None,
    config: Config = None,
) -> None:
    """Print who looked up or changed what, a line of JSON for each entry, the oldest first."""
    from .serve import show_audit

    raise typer.Exit(show_audit(db, config, verify=verify, limit=limit))
