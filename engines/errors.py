"""The engines' error tree.

::

    EngineError
    ├── BackendUnavailable     the backend is not installed or cannot serve here; says why
    │   └── BuildFailed        its builder could not make an engine of the network
    ├── ParityRefused          a faster engine's results differ too much from the reference's
    ├── ModelError             a model file is missing, damaged or has the wrong tensors
    └── InferenceError         a network or index raised while it ran
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of all errors of the engines."""


class BackendUnavailable(EngineError):
    """The asked backend cannot serve on this machine."""


class BuildFailed(BackendUnavailable):
    """A backend's builder refused a network, failed at it, or was stopped."""


class ParityRefused(EngineError):
    """An engine's results differ too much from the float32 reference's; the message has both."""


class ModelError(EngineError):
    """A model file is missing, damaged, or not what its card says."""


class InferenceError(EngineError):
    """A network or an index failed while it ran."""
