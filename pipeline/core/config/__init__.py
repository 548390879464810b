"""Typed settings: defaults, a TOML file, environment variables and flags, in that order.

The later layer wins. A key that no setting has is an error that names where it came from and
the nearest key that exists. The environment is read in one place, `environment_layer`, and only
under the names that `environment_names` lists (``FACESTREAM_<GROUP>_<KEY>``). Cameras have tables
of their own, ``[cameras.NAME]``; what one of them says wins over the groups, wherever their
values came from (`Settings.for_source`).
"""

from __future__ import annotations

from .cameras import CameraSettings, Polygon
from .groups import (
    AnnotateSettings,
    DetectorSettings,
    EncoderSettings,
    EventSettings,
    LiveSettings,
    RecognitionSettings,
    RestreamSettings,
    RuntimeSettings,
    TrackingSettings,
)
from .layers import Layer
from .loading import (
    ENVIRONMENT_PREFIX,
    default_gallery_path,
    environment_layer,
    environment_names,
    file_layer,
    load_settings,
)
from .settings import Settings, setting_keys
from .toml import to_toml
from .urls import CameraUrl

__all__ = [
    "ENVIRONMENT_PREFIX",
    "AnnotateSettings",
    "CameraSettings",
    "CameraUrl",
    "DetectorSettings",
    "EncoderSettings",
    "EventSettings",
    "Layer",
    "LiveSettings",
    "Polygon",
    "RecognitionSettings",
    "RestreamSettings",
    "RuntimeSettings",
    "Settings",
    "TrackingSettings",
    "default_gallery_path",
    "environment_layer",
    "environment_names",
    "file_layer",
    "load_settings",
    "setting_keys",
    "to_toml",
]
