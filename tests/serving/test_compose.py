"""docker-compose.yml and the Dockerfiles keep their promises, as far as files can tell without an engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slimrank.settings import Settings

ROOT = Path(__file__).parent.parent.parent
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def test_the_line_is_complete() -> None:
    assert set(SERVICES) == {"opensearch", "redis", "model-init", "worker", "gateway"}


def test_no_service_name_has_an_underscore_since_java_takes_no_such_host() -> None:
    assert not [name for name in SERVICES if "_" in name]


@pytest.mark.parametrize("name", ["opensearch", "redis", "worker", "gateway"])
def test_every_service_that_stays_up_is_checked(name: str) -> None:
    assert "healthcheck" in SERVICES[name]


def test_ports_are_open_on_the_loopback_interface_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_variables_are_settings_and_builds_exist() -> None:
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            assert not name.startswith("SLIMRANK_") or name.removeprefix("SLIMRANK_").lower() in Settings.model_fields
        if build := service.get("build"):
            text = (ROOT / build["dockerfile"]).read_text(encoding="utf-8")
            assert "target" not in build or re.search(rf" AS {build['target']}$", text, re.MULTILINE)


def test_waiting_is_for_what_is_there() -> None:
    for service in SERVICES.values():
        for name, condition in service.get("depends_on", {}).items():
            assert condition["condition"] != "service_healthy" or "healthcheck" in SERVICES[name]


@pytest.mark.parametrize("name", ["serving", "model"])
def test_images_do_not_run_as_root(name: str) -> None:
    text = (ROOT / "deploy" / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert "torch" not in (ROOT / "requirements" / "serve.txt").read_text(encoding="utf-8")
