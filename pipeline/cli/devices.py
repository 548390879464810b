"""The flags that say what is to run where, for the commands that need them.

They are declared once: `with_devices` gives a command the ones it names, and hands their values
over as settings in the single parameter ``devices``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, get_type_hints

import typer

Flag = Literal["backend", "device", "precision", "strict_device", "wait_engines", "decode", "index"]
NETWORKS: tuple[Flag, ...] = ("backend", "device", "precision", "strict_device", "wait_engines")
ALL: tuple[Flag, ...] = (*NETWORKS, "decode", "index")

PANEL = "What runs where"


class BackendName(StrEnum):
    """What runs the networks."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"
    TENSORRT = "tensorrt"


class DeviceName(StrEnum):
    """Where the networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class PrecisionName(StrEnum):
    """The encoder's arithmetic."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


class DecodeName(StrEnum):
    """What decodes video."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    VAAPI = "vaapi"


class IndexName(StrEnum):
    """How the gallery is searched."""

    AUTO = "auto"
    FLAT = "flat"
    HNSW = "hnsw"
    IVFPQ = "ivfpq"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class _Declared:
    """A flag: its type, and its help."""

    kind: Any
    help: str

    def annotation(self, name: str) -> Any:
        flag = "--" + name.replace("_", "-")
        told = self.help if self.kind is bool else f"{self.help} \\[auto]"
        option = typer.Option(flag, help=told, rich_help_panel=PANEL, show_default=False)
        return Annotated[self.kind if self.kind is bool else self.kind | None, option]

    @property
    def default(self) -> bool | None:
        return False if self.kind is bool else None


_FLAGS: Mapping[Flag, _Declared] = {
    "backend": _Declared(BackendName, "What runs the networks."),
    "device": _Declared(DeviceName, "Where they run; auto: on the GPU where there is one."),
    "precision": _Declared(
        PrecisionName,
        "The encoder's arithmetic; auto: the fastest that passes its parity gate.",
    ),
    "strict_device": _Declared(
        bool,
        "Fail rather than run a part elsewhere than asked for; with auto, rather than leave a GPU "
        "of this machine unused.",
    ),
    "wait_engines": _Declared(
        bool, "Wait for engines that are built for this machine; do not begin with slower ones."
    ),
    "decode": _Declared(
        DecodeName,
        "What decodes video; auto: hardware that can be opened, else the CPU.",
    ),
    "index": _Declared(IndexName, "How the gallery is searched."),
}


def with_devices(*flags: Flag) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these flags; it gets ``devices``, settings by key (``runtime.device``).

    Args:
        flags: in the order in which the help shows them, after the command's own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            asked = {flag: given.pop(flag) for flag in flags}
            command(**given, devices=_as_settings(asked))

        parameters = [
            *_own_parameters(command),
            *(_parameter(flag) for flag in flags),
        ]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
        del wrapped.__dict__["__wrapped__"]  # typer would look through to the command's own
        return wrapped

    return decorate


def _own_parameters(command: Callable[..., None]) -> list[inspect.Parameter]:
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters.values()
    return [one.replace(annotation=hints[one.name]) for one in own if one.name != "devices"]


def _parameter(flag: Flag) -> inspect.Parameter:
    declared = _FLAGS[flag]
    return inspect.Parameter(
        flag,
        inspect.Parameter.KEYWORD_ONLY,
        default=declared.default,
        annotation=declared.annotation(flag),
    )


def _as_settings(asked: Mapping[Flag, Any]) -> dict[str, Any]:
    """What was not given is None, and leaves the setting alone."""
    return {
        f"runtime.{flag}": value.value if isinstance(value, StrEnum) else value or None
        for flag, value in asked.items()
    }
