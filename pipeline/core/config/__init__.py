"""Typed settings: defaults, a TOML file, environment variables and flags; a later one wins.

A key that does not exist is an error that names its origin and the nearest key that does. The
environment is read under the names of `environment_names` only (``FACESTREAM_<GROUP>_<KEY>``).
Each camera has a table, ``[cameras.NAME]``; its keys override those of the groups, whatever layer
these came from (`Settings.for_source`).
"""

from __future__ import annotations

from .cameras import CameraSettings, Polygon
from .folders import default_gallery_path
from .groups import (
    AnnotateSettings,
    DetectorSettings,
    EncoderSettings,
    EventSettings,
    LiveSettings,
    RecognitionSettings,
    RestreamSettings,
    RuntimeSettings,
    ServerSettings,
    StorageSettings,
    TrackingSettings,
)
from .settings import Settings, environment_names, load_settings, setting_keys
from .toml import to_toml
from .urls import CameraUrl

__all__ = [
    "AnnotateSettings",
    "CameraSettings",
    "CameraUrl",
    "DetectorSettings",
    "EncoderSettings",
    "EventSettings",
    "LiveSettings",
    "Polygon",
    "RecognitionSettings",
    "RestreamSettings",
    "RuntimeSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TrackingSettings",
    "default_gallery_path",
    "environment_names",
    "load_settings",
    "setting_keys",
    "to_toml",
]
