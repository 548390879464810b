"""All settings in one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from .cameras import CameraSettings, check_names
from .groups import (
    AnnotateSettings,
    DetectorSettings,
    EncoderSettings,
    EventSettings,
    Group,
    LiveSettings,
    RecognitionSettings,
    RestreamSettings,
    RuntimeSettings,
    TrackingSettings,
)
from .layers import (
    Layer,
    nested,
    tables,
    validated,
)


def _named(cameras: dict[str, CameraSettings]) -> dict[str, CameraSettings]:
    check_names(list(cameras))
    return cameras


class Settings(Group):
    """All settings of facestream; immutable."""

    detector: DetectorSettings = DetectorSettings()
    encoder: EncoderSettings = EncoderSettings()
    tracking: TrackingSettings = TrackingSettings()
    recognition: RecognitionSettings = RecognitionSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    live: LiveSettings = LiveSettings()
    events: EventSettings = EventSettings()
    annotate: AnnotateSettings = AnnotateSettings()
    restream: RestreamSettings = RestreamSettings()
    cameras: Annotated[dict[str, CameraSettings], AfterValidator(_named)] = Field(
        default_factory=dict
    )

    def with_values(self, values: Mapping[str, Any]) -> Settings:
        """A copy with other values, given as ``{"detector.min_face": 20}``.

        Raises:
            ConfigError: a key does not exist or a value cannot be used.
        """
        layer = Layer("in the given values", nested(values))
        return validated([Layer("in the settings", self.model_dump()), layer], Settings)

    def for_source(self, name: str) -> Settings:
        """What holds for one source: a camera's own keys over those of the groups.

        Args:
            name: of the source; any that is no camera's gets these settings as they are.
        """
        return self.by_camera.get(name, self)

    @cached_property
    def by_camera(self) -> Mapping[str, Settings]:
        """The settings of each camera, see `for_source`."""
        return {name: self._merged(camera) for name, camera in self.cameras.items()}

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> Settings:
        """As pydantic's; what was kept for the cameras is worked out anew."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("by_camera", None)
        return copied

    def _merged(self, camera: CameraSettings) -> Settings:
        groups = {
            group: getattr(self, group).model_copy(update=values)
            for group, values in camera.overrides().items()
        }
        return self.model_copy(update=groups)


def groups() -> Iterator[tuple[str, type[Group]]]:
    """The tables that hold one group of settings each: name and model."""
    return tables(Settings)


def setting_keys() -> list[str]:
    """Every setting of the groups as a dotted key, e.g. ``detector.min_face``."""
    return [f"{group}.{key}" for group, model in groups() for key in model.model_fields]
