"""The errors of the engines."""

from __future__ import annotations


class EngineError(Exception):
    """Base of all errors of the engines."""


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
