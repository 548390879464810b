"""The errors of the engines."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """The text on one line, with escapes for characters that control a terminal.

    Names of files can hold newlines, escape sequences and bytes that are not UTF-8.
    """
    return "".join(
        char
        if char.isprintable() or char in _JOINERS
        else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def one_line(message: str) -> str:
    """``printable``, with all lines on one; the middle of a very long one is left out."""
    line = printable(" ".join(message.splitlines()))
    return line if len(line) <= 2000 else f"{line[:1500]} … {line[-400:]}"


class EngineError(Exception):
    """Base of all errors of the engines; its message is one printable line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class BackendUnavailable(EngineError):
    """The backend is not installed or cannot serve on this machine; the message says why."""


class BuildFailed(BackendUnavailable):
    """A backend's builder refused a network, failed at it, or was stopped."""


class ParityRefused(EngineError):
    """An engine's results differ too much from the float32 reference's; the message has both."""


class ModelError(EngineError):
    """A model file is missing, damaged, has the wrong tensors, or does not match its card."""


class InferenceError(EngineError):
    """A network or an index failed while it ran."""
