"""All settings in one object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from .cameras import CameraSettings, check_names
from .groups import (
    AnnotateSettings,
    DetectorSettings,
    EncoderSettings,
    EventSettings,
    Group,
    LimitSettings,
    LiveSettings,
    PhotoSettings,
    RecognitionSettings,
    RestreamSettings,
    RuntimeSettings,
    ServerSettings,
    StorageSettings,
    TrackingSettings,
)
from .layers import (
    ENVIRONMENT_PREFIX,
    Layer,
    dotted_keys,
    from_environment,
    from_file,
    from_keys,
    validated,
)
from .notify import MqttSettings, WebhookSettings, check_webhooks


class Settings(Group):
    """All settings of facestream; immutable."""

    detector: DetectorSettings = DetectorSettings()
    encoder: EncoderSettings = EncoderSettings()
    tracking: TrackingSettings = TrackingSettings()
    recognition: RecognitionSettings = RecognitionSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    live: LiveSettings = LiveSettings()
    limits: LimitSettings = LimitSettings()
    photos: PhotoSettings = PhotoSettings()
    events: EventSettings = EventSettings()
    annotate: AnnotateSettings = AnnotateSettings()
    restream: RestreamSettings = RestreamSettings()
    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    mqtt: MqttSettings = MqttSettings()
    cameras: Annotated[dict[str, CameraSettings], AfterValidator(check_names)] = Field(
        default_factory=dict
    )
    webhooks: Annotated[tuple[WebhookSettings, ...], AfterValidator(check_webhooks)] = ()

    def with_values(self, values: Mapping[str, Any]) -> Settings:
        """A copy with other values, given as ``{"detector.min_face": 20}``.

        Raises:
            ConfigError: a key does not exist or a value cannot be used.
        """
        given = from_keys("in the given values", values, {})
        return validated([Layer("in the settings", self.model_dump()), given], Settings)

    def for_source(self, name: str) -> Settings:
        """The settings of a source; if it is a camera, its keys override those of the groups."""
        return self.by_camera.get(name, self)

    @cached_property
    def by_camera(self) -> Mapping[str, Settings]:
        """The settings of each camera, see `for_source`."""
        merged = {}
        for name, camera in self.cameras.items():
            groups = {
                group: getattr(self, group).model_copy(update=values)
                for group, values in camera.overrides().items()
            }
            merged[name] = self.model_copy(update=groups)
        return merged

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> Settings:
        """As pydantic's, without the cached settings of the cameras."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("by_camera", None)
        return copied


def setting_keys() -> list[str]:
    """Every setting of the groups as a dotted key, e.g. ``detector.min_face``."""
    return dotted_keys(Settings)


def environment_names() -> dict[str, str]:
    """Every environment variable that is read, with the dotted key it sets."""
    return {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in setting_keys()}


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The effective settings: defaults, file, environment, flags; a later one wins.

    Args:
        file: a TOML file.
        environment: e.g. ``os.environ``; only names from `environment_names` may begin with
            ``FACESTREAM_``.
        flags: dotted key to value; None counts as not given.

    Raises:
        ConfigError: a file cannot be read, a key is unknown or a value cannot be used.
    """
    layers = [] if file is None else [from_file(file)]
    if environment is not None:
        layers.append(from_environment(environment, environment_names()))
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    names = {key: "--" + key.split(".")[-1].replace("_", "-") for key in given}
    layers.append(from_keys("on the command line", given, names))
    return validated(layers, Settings)
