"""Typed settings: defaults, a TOML file, environment variables and flags; a later one wins.

A key that does not exist is an error that names its origin and the nearest key that does. The
environment is read under the names of `environment_names` only (``FACESTREAM_<GROUP>_<KEY>``).
Each camera has a table, ``[cameras.NAME]``; its keys override those of the groups, whatever layer
these came from (`Settings.for_source`).
"""

from __future__ import annotations

from .cameras import CameraSettings, Polygon
from .folders import default_gallery_path, default_outbox_path
from .groups import (
    AnnotateSettings,
    DetectorSettings,
    EncoderSettings,
    EventSettings,
    LiveSettings,
    RecognitionSettings,
    RestreamSettings,
    RetentionSettings,
    RuntimeSettings,
    ServerSettings,
    StorageSettings,
    TrackingSettings,
)
from .notify import MqttSettings, WebhookSettings
from .settings import Settings, environment_names, load_settings, setting_keys
from .toml import to_toml
from .urls import CameraUrl, resolve_secret

__all__ = [
    "AnnotateSettings",
    "CameraSettings",
    "CameraUrl",
    "DetectorSettings",
    "EncoderSettings",
    "EventSettings",
    "LiveSettings",
    "MqttSettings",
    "Polygon",
    "RecognitionSettings",
    "RestreamSettings",
    "RetentionSettings",
    "RuntimeSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TrackingSettings",
    "WebhookSettings",
    "default_gallery_path",
    "default_outbox_path",
    "environment_names",
    "load_settings",
    "resolve_secret",
    "setting_keys",
    "to_toml",
]
