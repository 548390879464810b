"""Distributions that overwrite each other's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.pipeline.core.versions import version_of
from facestream.pipeline.observability.installation import TWINS, twins_problem


@pytest.mark.parametrize("module", TWINS)
def test_two_distributions_of_one_module_are_seen(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert twins_problem(module) is None
    monkeypatch.syspath_prepend(str(tmp_path))
    names = TWINS[module][:2]
    for name in names:
        if version_of(name) is None:
            info = tmp_path / f"{name.replace('-', '_')}-1.15.1.dist-info"
            info.mkdir()
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.15.1\n"
            (info / "METADATA").write_text(text)
    problem = twins_problem(module)
    assert problem is not None
    assert " and ".join(f"{name} {version_of(name)}" for name in names) in problem
    assert f"overwrite each other; run: pip uninstall {' '.join(names)}, then" in problem
