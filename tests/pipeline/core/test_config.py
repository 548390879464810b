"""Settings: layers, ranges, and errors that say what to change."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.config import (
    Settings,
    environment_names,
    load_settings,
    setting_keys,
    to_toml,
)
from facestream.pipeline.core.config.layers import tables
from facestream.pipeline.core.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st


def written(folder: Path, text: str) -> Path:
    path = folder / "camera.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_command_line_wins_over_environment_over_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[detector]\nmin_face = 20\nfactor = 0.5\n[tracking]\niou = 0.4\n")
    settings = load_settings(
        file=file,
        environment={"FACESTREAM_DETECTOR_MIN_FACE": "30", "FACESTREAM_DETECTOR_FACTOR": "0.6"},
        flags={"detector.min_face": 60, "runtime.backend": None},
    )
    assert settings.detector.min_face == 60
    assert settings.detector.factor == 0.6
    assert settings.tracking.iou == 0.4
    assert settings.runtime.backend == "auto"


def test_a_table_that_is_a_value_stays_an_error_below_a_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^'detector' in .* is a table: write its keys under"):
        load_settings(file=written(tmp_path, "detector = 3\n"), flags={"detector.min_face": 60})


def test_an_unknown_key_comes_before_other_mistakes(tmp_path: Path) -> None:
    text = "[cameras.door]\nurll = 'rtsp://x/'\nenabled = 3\n"
    with pytest.raises(ConfigError, match=r"^unknown key 'cameras\.door\.urll' in .*camera\.toml"):
        load_settings(file=written(tmp_path, text), flags={"detector.min_face": 1})


def test_only_our_names_of_the_environment_are_read() -> None:
    assert load_settings(environment={"HOME": "/root", "MIN_FACE": "3"}) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[detector]\nmin_fac = 20", "unknown key 'detector.min_fac' in {file}; did you mean "),
        ("[detektor]\nmin_face = 20", "unknown key 'detektor' in {file}; did you mean 'detector'?"),
        ("min_face = 20", "unknown key 'min_face' in {file}; did you mean 'detector.min_face'?"),
        ("detector = 3", "'detector' in {file} is a table: write its keys under [detector]"),
        ("[detector]\nmin_face = '20'", "detector.min_face in {file}: must be a valid integer"),
        ("[detector]\nmin_face = 20.5", "detector.min_face in {file}: must be a valid integer"),
        ("[detector]\nmin_face = true", "detector.min_face in {file}: must be a valid integer"),
        ("[detector]\nmin_face = 3", "detector.min_face in {file}: must be at least 12, not 3"),
        ("[detector]\nmode = 'slow'", "detector.mode in {file}: must be 'fast' or 'exact', not"),
        ("[detector]\nthresholds = [0.6, 0.7]", "detector.thresholds in {file}: "),
        ("[detector]\nthresholds = [0.6, 0.7, 7.0]", "detector.thresholds in {file}: must be less"),
        ("[recognition]\nmargin = nan", "recognition.margin in {file}: must be a finite number"),
        ("[detector", "the settings file {file} is not valid TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot read the settings file .*nowhere\.toml: No such"
    ):
        load_settings(file=tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(file=binary)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"FACESTREAM_DETECTOR_MINFACE": "20"},
            "unknown environment variable FACESTREAM_DETECTOR_MINFACE; did you mean "
            "'FACESTREAM_DETECTOR_MIN_FACE'?",
        ),
        (
            {"FACESTREAM_DETECTOR_MIN_FACE": "big"},
            "FACESTREAM_DETECTOR_MIN_FACE in the environment: must be a valid integer, not 'big'",
        ),
    ],
)
def test_a_mistake_in_the_environment(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environment=environment)
    assert str(caught.value) == message


def test_the_environment_takes_text_with_and_without_quotes() -> None:
    for text in ("openvino", '"openvino"'):
        settings = load_settings(environment={"FACESTREAM_RUNTIME_BACKEND": text})
        assert settings.runtime.backend == "openvino"


def test_a_wrong_flag_is_called_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^--min-face on the command line: must be at least 12"):
        load_settings(flags={"detector.min_face": 1})


def test_every_setting_has_a_description_and_an_environment_variable() -> None:
    for group, model in tables(Settings):
        for key, info in model.model_fields.items():
            assert info.description, f"{group}.{key}"
    assert list(environment_names().values()) == setting_keys()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().detector.min_face = 3


def test_with_values_checks_like_a_file() -> None:
    changed = Settings().with_values({"detector.min_face": 24})
    assert changed.detector.min_face == 24
    assert Settings().detector.min_face == 40
    with pytest.raises(ConfigError, match=r"unknown key 'detector\.minface'"):
        Settings().with_values({"detector.minface": 24})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "detector.min_face": st.integers(12, 4096),
            "detector.mode": st.sampled_from(["fast", "exact"]),
            "detector.factor": st.floats(0.3, 0.95),
            "detector.thresholds": st.tuples(*[st.floats(0.01, 0.99)] * 3),
            "recognition.threshold": st.none() | st.floats(-1, 1),
            "recognition.false_alarms": st.floats(0.001, 0.999),
            "recognition.max_sigma": st.none() | st.floats(0.01, 100),
            "runtime.max_wait": st.floats(0, 10),
            "runtime.threads": st.none() | st.integers(1, 64),
        },
    )
)
def test_what_is_printed_reads_back_the_same(values: dict[str, Any]) -> None:
    settings = Settings().with_values(values)
    again = Settings.model_validate(tomllib.loads(to_toml(settings)))
    assert again == settings


def test_the_printed_file_is_accepted_as_it_is(tmp_path: Path) -> None:
    assert load_settings(file=written(tmp_path, to_toml(Settings()))) == Settings()


def test_brackets_in_brackets_are_a_line(tmp_path: Path) -> None:
    deep = "[" * 20_000
    with pytest.raises(ConfigError, match="too many brackets") as caught:
        load_settings(file=written(tmp_path, f"a = {deep}"), environment={})
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="FACESTREAM_DETECTOR_MIN_FACE"):
        load_settings(environment={"FACESTREAM_DETECTOR_MIN_FACE": deep})
