"""The compose file: the properties of every service. ``tests/stack`` starts the services."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from slimrank.__main__ import app
from slimrank.settings import DEFAULT_MODEL_NAME, Settings
from tests.deploy.helm import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OVERLAYS = sorted((ROOT / "deploy" / "compose").glob("*.yml"))
ENDS = {name for name, service in SERVICES.items() if service.get("restart") == "no"}
ours = pytest.mark.parametrize("name", SERVICES)


@ours
def test_no_service_has_rights_or_a_writable_image(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not service.get("privileged") and service.get("user", "10001").partition(":")[0] != "0"


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ENDS))
def test_a_serving_container_has_limits_a_health_check_and_restarts(name: str) -> None:
    service = SERVICES[name]
    assert service["cpus"] and service["mem_limit"] and service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(ENDS))
def test_a_container_that_runs_once_has_no_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"] == {"disable": True}  # the gateway image's own check would fail


@ours
def test_images_are_pinned_and_can_be_replaced_by_variables(name: str) -> None:
    image = SERVICES[name]["image"]
    given = re.fullmatch(r"\$\{[A-Z_]+:-([^}]+)\}|([\w-]+):\$\{SLIMRANK_TAG:-\d[\d.]*\}", image)
    assert given, image
    assert given[1] is None or re.search(r":v?\d+\.\d+\.\d+", given[1]), "a version to the last number, never latest"


@ours
def test_ports_listen_on_the_loopback_interface_only(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@ours
def test_a_volume_has_a_name_or_is_a_read_only_file_of_the_checkout(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, rest = volume.partition(":")
        if source.startswith("./"):
            assert (ROOT / source).exists() and rest.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


@ours
def test_a_service_waits_only_for_conditions_that_can_become_true(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        condition = wanted["condition"]
        assert condition != "service_completed_successfully" or other in ENDS
        assert condition != "service_healthy" or "healthcheck" in SERVICES[other]


@ours
def test_our_own_images_are_never_pulled_from_a_registry(name: str) -> None:
    service = SERVICES[name]
    built = {other["image"] for other in SERVICES.values() if "build" in other}
    if service["image"].startswith("slimrank-") and "build" not in service:
        assert service["image"] in built and service["pull_policy"] == "never"


@ours
def test_our_settings_and_options_exist(name: str) -> None:
    service = SERVICES[name]
    settings = {key.removeprefix("SLIMRANK_").lower() for key in service.get("environment", {}) if key.startswith("SLIMRANK_")}
    assert settings <= set(Settings.model_fields)
    command = service.get("command", [])
    if command and command[0] == "slimrank":
        help_text = CliRunner(env={"COLUMNS": "300"}).invoke(app, [command[1], "--help"]).output
        assert [word for word in command[2:] if word.startswith("--") and word not in help_text] == []


def test_no_password_is_in_the_file_or_in_the_environment() -> None:
    names = [key for service in SERVICES.values() for key in service.get("environment", {})]
    assert [key for key in names if re.search("PASSWORD|SECRET|KEY|TOKEN", key) and not key.endswith("__FILE")] == []


def test_only_useful_lines_are_printed_and_the_url_comes_last() -> None:
    shown = {name for name, service in SERVICES.items() if service.get("attach", True) and not service.get("profiles")}
    assert shown == {"model-init", "indexer", "ready"}
    assert "http://localhost:8090/" in SERVICES["ready"]["command"][-1]
    assert not [name for name, service in SERVICES.items() if "ready" in service.get("depends_on", {})]


@pytest.mark.parametrize("name", ["opensearch", "elasticsearch"])
def test_an_engine_can_write_its_data_settings_logs_and_scratch(name: str) -> None:
    mounts = [volume.partition(":")[2] for volume in SERVICES[name]["volumes"]]
    mounts += [mount.partition(":")[0] for mount in SERVICES[name]["tmpfs"]]
    assert sorted(mounts) == sorted([f"/usr/share/{name}/{folder}" for folder in ("data", "config", "logs")] + ["/tmp"])


@pytest.mark.parametrize("profile", ["", "elasticsearch", "tools", "registry"])
@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda path: path.name if path else "alone")
def test_docker_compose_accepts_every_overlay_with_every_profile(overlay: Path | None, profile: str) -> None:
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose is not here; install it, or leave this to `make test-stack`")
    files = ["-f", "docker-compose.yml", *(["-f", str(overlay)] if overlay else [])]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")}
    command = ["docker", "compose", *files, *(["--profile", profile] if profile else []), "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["services"].keys() <= SERVICES.keys()


def test_workers_and_tools_name_the_shipped_model_that_is_made() -> None:
    [name] = {SERVICES[service]["environment"]["SLIMRANK_MODEL"] for service in ("worker", "tools")}
    assert SERVICES["model-init"]["command"] == ["slimrank", "model", "pull", name]
    assert re.fullmatch(r"\$\{WORKER_MODEL:-(.+)\}", name)[1] == DEFAULT_MODEL_NAME  # type: ignore[index]


def test_the_gpu_overlay_reserves_a_gpu_for_the_worker_only_and_the_worker_refuses_to_start_without_one() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose" / "gpu.yml").read_text())["services"]
    assert services.keys() == {"model-init", "worker"}
    worker = services["worker"]
    assert services["model-init"]["environment"]["SLIMRANK_PROVIDER"] == worker["environment"]["SLIMRANK_PROVIDER"]
    assert worker["environment"]["SLIMRANK_PROVIDER"] == "cuda" and worker["build"]["args"]["REQUIREMENTS"] == "gpu"
    assert worker["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_changes_services_that_exist(overlay: Any) -> None:
    assert yaml.safe_load(overlay.read_text())["services"].keys() <= SERVICES.keys()


def test_every_base_image_of_the_offline_overlay_is_a_variable_of_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    lines = (ROOT / "deploy" / "compose" / "offline.env").read_text().splitlines()
    assert [line for line in lines if "=" in line and f"${{{line.partition('=')[0]}:-" not in text] == []


def test_no_service_name_has_an_underscore_since_java_refuses_such_hosts() -> None:
    assert not [name for name in SERVICES if "_" in name]


@pytest.mark.parametrize("name", ["serving", "model"])
def test_images_do_not_run_as_root_and_serving_has_no_torch(name: str) -> None:
    text = (ROOT / "deploy" / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert "torch" not in (ROOT / "requirements" / "serve.txt").read_text(encoding="utf-8")


def test_the_models_image_is_locked_like_the_others_and_has_only_the_parts_of_cuda_that_torch_needs_to_load() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z][\w.-]*==[\w.]+", (ROOT / "requirements" / name).read_text(encoding="utf-8"), re.MULTILINE))

    assert pins("model.txt") <= pins("dev.txt")
    # transformers needs these two packages to read the base weights, which are a GGUF file.
    assert {pin.partition("==")[0] for pin in pins("model.txt")} >= {"accelerate", "gguf"}
    cuda = {pin.partition("==")[0] for pin in pins("model.txt") if re.match("nvidia-|cuda-|triton", pin)}
    assert cuda == {"cuda-toolkit", "nvidia-cuda-cupti", "nvidia-cuda-runtime"}


@pytest.mark.parametrize("name", ["serving", "model"])
def test_images_are_built_with_hashed_tools_and_without_isolation(name: str) -> None:
    text = (ROOT / "deploy" / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install .*", text)
    assert len(installs) == 2
    assert all("--require-hashes" in line or {"--no-build-isolation", "--no-index"} <= set(line.split()) for line in installs)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    locked = (ROOT / "requirements" / "build.txt").read_text(encoding="utf-8")
    assert [tool for tool in needed if f"\n{re.split('[<>=]', tool)[0]}==" not in locked] == []


def test_images_with_a_known_digest_are_pinned_by_it_and_redis_is_a_patched_release() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for image in ("python:", "prom/prometheus:", "grafana/grafana:"):
        assert re.search(rf":-{image}[\w.-]+@sha256:[0-9a-f]{{64}}\}}", text)
    for file in (ROOT / "deploy" / "docker").glob("*.Dockerfile"):
        assert re.search(r"^ARG PYTHON_IMAGE=python:[\w.-]+@sha256:[0-9a-f]{64}$", file.read_text(encoding="utf-8"), re.MULTILINE)
    version = re.search(r":-redis:(\d+)\.(\d+)\.(\d+)-", text)
    assert version and tuple(map(int, version.groups())) >= (7, 2, 11), "7.2.11 mends a way out of its scripts (CVE-2025-49844)"
