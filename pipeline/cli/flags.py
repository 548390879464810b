"""Flags that several commands share.

Those that say what runs where are declared once: `with_devices` gives a command the ones it
names, and hands their values over as settings in the single parameter ``devices``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer


def examples(*lines: str) -> str:
    """The epilog of a command: example calls, then anything else there is to say."""
    return "\n\n".join(["[bold]Examples[/bold]", *lines])


def command_group(name: str, text: str, *, epilog: str) -> typer.Typer:
    """Commands under one name; without a command the help is shown."""
    return typer.Typer(
        name=name,
        help=text,
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def argument(metavar: str, text: str) -> Any:
    """A positional argument; its default is not shown."""
    return typer.Argument(metavar=metavar, help=text, show_default=False)


Gallery = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        "-g",
        metavar="FILE|URL",
        help="Gallery of known people. Default: the one 'facestream gallery add' writes.",
    ),
]
MinFace = Annotated[
    int | None,
    typer.Option("--min-face", metavar="PX", help="Smallest face to look for, in pixels. [40]"),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="FILE|URL",
        help="Database of people and sightings: a file, or postgresql://user@host/name. Default: "
        "the setting storage.database, else the gallery in your user data folder.",
    ),
]
Cameras = Annotated[
    list[str] | None,
    typer.Option("--camera", metavar="NAME", help="Of this camera or video; repeatable."),
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Begun then or later.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Begun before that.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="S",
        help="Lowest similarity that gives a name, -1 to 1, whatever the size of the gallery; "
        "higher: fewer false names, more unknown. \\[about 0.38, rising with the number of photos]",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Settings; flags given here win. 'facestream config' prints all of them.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Flag = Literal["backend", "device", "precision", "strict_device", "wait_engines", "decode", "index"]
NETWORKS: tuple[Flag, ...] = ("backend", "device", "precision", "strict_device", "wait_engines")
ALL: tuple[Flag, ...] = (*NETWORKS, "decode", "index")


def _device_flag(name: str, text: str, *values: str) -> Any:
    kind: Any = Literal[("auto", *values)] | None if values else bool
    text = f"{text} \\[auto]" if values else text
    option = typer.Option(name, help=text, rich_help_panel="What runs where", show_default=False)
    return Annotated[kind, option]


_DEVICE_FLAGS: dict[Flag, Any] = {
    "backend": _device_flag(
        "--backend",
        "What runs the networks; torch is the old name of onnxruntime.",
        *("onnxruntime", "openvino", "tensorrt", "torch"),
    ),
    "device": _device_flag(
        "--device", "Where they run; auto: on the GPU where there is one.", "cpu", "cuda"
    ),
    "precision": _device_flag(
        "--precision",
        "The encoder's arithmetic; auto: the fastest that passes its parity gate.",
        *("float32", "bfloat16", "float16", "int8"),
    ),
    "strict_device": _device_flag(
        "--strict-device",
        "Fail rather than run a part elsewhere than asked for; with auto, rather than leave a GPU "
        "of this machine unused.",
    ),
    "wait_engines": _device_flag(
        "--wait-engines",
        "Wait for engines that are built for this machine; do not begin with slower ones.",
    ),
    "decode": _device_flag(
        "--decode",
        "What decodes video; auto: hardware that can be opened, else the CPU.",
        *("cpu", "cuda", "vaapi"),
    ),
    "index": _device_flag(
        "--index", "How the gallery is searched.", "flat", "hnsw", "ivfpq", "gpu"
    ),
}


def with_devices(*flags: Flag) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these flags; it gets ``devices``, settings by key (``runtime.device``).

    The help shows them in this order, after the command's own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            # A flag that was not given is None, and leaves the setting alone.
            devices = {f"runtime.{flag}": given.pop(flag) or None for flag in flags}
            command(**given, devices=devices)

        hints = get_type_hints(command, include_extras=True)
        own = inspect.signature(command).parameters.values()
        parameters = [one.replace(annotation=hints[one.name]) for one in own]
        parameters = [one for one in parameters if one.name != "devices"]
        parameters += [
            inspect.Parameter(
                flag,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if flag in ("strict_device", "wait_engines") else None,
                annotation=_DEVICE_FLAGS[flag],
            )
            for flag in flags
        ]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
        del wrapped.__dict__["__wrapped__"]  # typer would look through to the command's own
        return wrapped

    return decorate
