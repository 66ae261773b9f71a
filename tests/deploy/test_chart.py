"""The Helm chart: rendered by helm, checked against Kubernetes' own schemas, and against this project's code."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import redis
import yaml

from deploy.demo import passwords
from slimrank.engine import redis_clients
from slimrank.serving.queue import messages
from slimrank.settings import DEFAULT_MODEL_NAME, Settings
from tests.deploy import helm, keda
from tests.nodes import process
from tests.nodes.require import require
from tests.serving.queue.test_redis_setups import redis_server

CHART = helm.ROOT / "deploy" / "helm" / "slimrank"
VARIANTS: dict[str, Sequence[str]] = {
    "defaults": (),
    "scaled": ("autoscaling.enabled=true", "autoscaling.prometheus.address=http://prometheus:9090"),
    "outside-redis": (
        "redis.enabled=false",
        "redis.urlSecret.name=redis",
        "autoscaling.enabled=true",
        "autoscaling.redisAddress=redis.example:6379",
        "autoscaling.passwordSecret.name=redis",
    ),
    "own-model": ("model.from=claim", "model.claim.name=models", "model.claim.path=mine", "model.name=mine"),
    "gpu": ("worker.gpu.enabled=true", "worker.gpu.runtimeClassName=nvidia"),
    "playground": (
        "playground.enabled=true",
        "playground.engine.url=https://search:9200",
        "playground.engine.index=products",
        "playground.engine.fields={title,text}",
        "playground.engine.user=reader",
        "playground.engine.passwordSecret.name=engine",
    ),
    "keys": (
        "gateway.apiKeys.secret=keys",
        "gateway.tls.secret=tls",
        "gateway.tls.clientCa=ca.crt",
        "redis.enabled=false",
        "redis.urlSecret.name=redis",
        "redis.certificates.secret=redis-tls",
    ),
    "closed": ("networkPolicy.callers[0].podSelector.matchLabels.app=opensearch", "gateway.readiness=answers"),
}

Manifest = dict[str, Any]


def render(*values: str, release: str = "demo") -> list[Manifest]:
    done = run("template", release, str(CHART), "--namespace", "search", *(part for value in values for part in ("--set", value)))
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = helm.find()
    if found is None:
        require("no helm was found; `python -m tests.deploy.helm` builds one where Go is")
    return subprocess.run([found, *arguments, "--kube-version", helm.KUBERNETES], capture_output=True, text=True, check=False)


def pick(manifests: list[Manifest], kind: str, part: str) -> Manifest:
    [found] = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and manifest["metadata"]["labels"]["app.kubernetes.io/component"] == part
    ]
    return found


def container(manifests: list[Manifest], part: str) -> Manifest:
    [found] = pick(manifests, "Deployment", part)["spec"]["template"]["spec"]["containers"]
    return found


def environment(manifests: list[Manifest], part: str) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container(manifests, part)["env"]}


def test_helm_lints_the_chart() -> None:
    done = run("lint", str(CHART), "--strict")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", ["1.29", "1.34"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_is_valid_by_kubernetes_schemas(variant: str, version: str) -> None:
    manifests = render(*VARIANTS[variant])
    assert manifests
    for manifest in manifests:
        if not manifest["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("variant", ["scaled", "outside-redis"])
def test_scaled_objects_are_valid_by_kedas_schemas(variant: str) -> None:
    if not keda.DEFINITIONS.is_dir():
        require("KEDA's definitions were not fetched; `python -m tests.deploy.keda` does it where Go is")
    scaling = [manifest for manifest in render(*VARIANTS[variant]) if manifest["apiVersion"] == "keda.sh/v1alpha1"]
    assert scaling
    for manifest in scaling:
        jsonschema.validate(manifest, keda.schema(manifest["kind"]))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(manifest | {"spec": manifest["spec"] | {"polingInterval": 5}}, keda.schema(manifest["kind"]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_pod_is_root_or_writes_its_image_or_holds_a_token(variant: str) -> None:
    deployments = [manifest for manifest in render(*VARIANTS[variant]) if manifest["kind"] == "Deployment"]
    for pod in (deployment["spec"]["template"]["spec"] for deployment in deployments):
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
        for each in pod["containers"] + pod.get("initContainers", []):
            security = each["securityContext"]
            assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not each["image"].endswith((":latest", ":"))


def test_selectors_match_their_pods() -> None:
    manifests = render(*VARIANTS["playground"])
    pods = {
        part: pick(manifests, "Deployment", part)["spec"]["template"]["metadata"]["labels"]
        for part in ("gateway", "worker", "redis", "playground")
    }
    for manifest in manifests:
        spec = manifest.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        labels = selector.get("matchLabels", selector)
        if labels:
            found = [part for part, of_pod in pods.items() if labels.items() <= of_pod.items()]
            assert found == [manifest["metadata"]["labels"]["app.kubernetes.io/component"]]


def test_the_readiness_probe_scores_a_pair() -> None:
    manifests = render()
    assert container(manifests, "gateway")["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container(manifests, "gateway")["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container(manifests, "worker")["readinessProbe"]["exec"]["command"][-1] == "slimrank.serving.queue.health"
    assert container(render(*VARIANTS["closed"]), "gateway")["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_scaling_watches_the_queue_that_the_workers_read() -> None:
    scaled = pick(render(*VARIANTS["scaled"]), "ScaledObject", "worker")["spec"]
    queue, prometheus = scaled["triggers"]
    assert scaled["scaleTargetRef"] == {"name": "demo-slimrank-worker"}
    assert queue["metadata"]["listName"] == redis_clients.KEY_PREFIX + messages.queue_name(DEFAULT_MODEL_NAME)
    assert queue["metadata"]["address"] == "demo-slimrank-redis.search.svc:6379"
    assert prometheus["metadata"]["query"] == f'max(slimrank_backlog_seconds{{model="{DEFAULT_MODEL_NAME}"}})'
    assert all(isinstance(value, str) for trigger in scaled["triggers"] for value in trigger["metadata"].values())


def test_the_number_of_workers_is_left_to_the_scaler() -> None:
    assert "replicas" not in pick(render(*VARIANTS["scaled"]), "Deployment", "worker")["spec"]
    assert pick(render(), "Deployment", "worker")["spec"]["replicas"] == 1


def test_the_url_of_an_external_redis_comes_from_a_secret() -> None:
    manifests = render(*VARIANTS["outside-redis"])
    assert environment(manifests, "worker")["SLIMRANK_REDIS_URL"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert not [
        manifest
        for manifest in manifests
        if manifest["metadata"]["name"] == "demo-slimrank-redis" and manifest["kind"] == "Deployment"
    ]
    assert pick(manifests, "TriggerAuthentication", "worker")["spec"]["secretTargetRef"][0]["name"] == "redis"


def test_a_gpu_worker_requests_a_gpu_and_refuses_to_start_without_one() -> None:
    worker = pick(render(*VARIANTS["gpu"]), "Deployment", "worker")["spec"]["template"]["spec"]
    assert worker["runtimeClassName"] == "nvidia"
    assert worker["containers"][0]["resources"]["limits"] == {"cpu": "4", "memory": "3Gi", "nvidia.com/gpu": 1}
    assert worker["containers"][0]["image"].startswith("slimrank-worker-gpu:")
    assert environment(render(*VARIANTS["gpu"]), "worker")["SLIMRANK_PROVIDER"] == "cuda"


def test_a_users_own_model_is_mounted_read_only() -> None:
    manifests = render(*VARIANTS["own-model"])
    assert environment(manifests, "worker")["SLIMRANK_MODEL"] == "/models/mine"
    assert "initContainers" not in pick(manifests, "Deployment", "worker")["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", [DEFAULT_MODEL_NAME, "slimrank-12l"])
def test_a_shipped_model_is_made_and_served_by_its_name(name: str) -> None:
    manifests = render(f"model.name={name}", "autoscaling.enabled=true")
    [makes] = pick(manifests, "Deployment", "worker")["spec"]["template"]["spec"]["initContainers"]
    assert makes["args"] == ["slimrank", "model", "pull", name, "--provider", "cpu"]
    assert environment(manifests, "worker")["SLIMRANK_MODEL"] == name
    queue = pick(manifests, "ScaledObject", "worker")["spec"]["triggers"][0]["metadata"]["listName"]
    assert queue == redis_clients.KEY_PREFIX + messages.queue_name(name)


def test_no_pod_may_call_a_worker_or_the_gateway_and_only_the_charts_pods_may_call_redis() -> None:
    manifests = render()
    assert pick(manifests, "NetworkPolicy", "worker")["spec"]["ingress"] == []
    gateway = pick(manifests, "NetworkPolicy", "gateway")["spec"]["ingress"][0]["from"]
    assert gateway == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}], (
        "closed unless opened"
    )
    [peer] = pick(manifests, "NetworkPolicy", "redis")["spec"]["ingress"][0]["from"]
    assert peer["podSelector"]["matchExpressions"][0]["values"] == ["gateway", "worker"]
    closed = pick(render(*VARIANTS["closed"]), "NetworkPolicy", "gateway")["spec"]["ingress"][0]["from"]
    assert closed[0] == {"podSelector": {"matchLabels": {"app": "opensearch"}}}


def test_settings_reach_gateway_and_worker_and_exist() -> None:
    manifests = render("settings.TIMEOUT_SECONDS=5")
    for part in ("gateway", "worker"):
        names = {name.removeprefix("SLIMRANK_").lower() for name in environment(manifests, part)}
        assert "timeout_seconds" in names and names <= set(Settings.model_fields)


def test_commands_and_options_exist() -> None:
    from typer.testing import CliRunner

    from slimrank.__main__ import app

    for part in ("gateway", "worker", "playground"):
        _, command, *options = container(render(*VARIANTS["playground"]), part)["args"]
        help_text = CliRunner(env={"COLUMNS": "300"}).invoke(app, [command, "--help"]).output
        assert [name for option in options if option.startswith("--") and (name := option.split("=")[0]) not in help_text] == []


@pytest.mark.parametrize("value", ["model.from=nowhere", "gateway.replicas=-1", "gatway.replicas=2", "settings.lower=1"])
def test_a_wrong_value_is_refused(value: str) -> None:
    done = run("template", "demo", str(CHART), "--set", value)
    assert done.returncode != 0 and "schema" in done.stderr


def test_a_missing_value_is_named() -> None:
    done = run("template", "demo", str(CHART), "--set", "redis.enabled=false")
    assert "redis.urlSecret.name is needed" in done.stderr


def test_the_schema_of_the_values_is_json_and_covers_every_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() <= schema["properties"].keys()


def test_the_images_are_those_that_the_dockerfiles_make() -> None:
    text = "".join(path.read_text() for path in Path(helm.ROOT / "deploy" / "docker").glob("*.Dockerfile"))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    names = {image["repository"] for image in values["image"].values() if isinstance(image, dict)}
    assert {name for name in names if f"-t {name} " not in text} == set()


def volumes(manifests: list[Manifest], part: str) -> dict[str, str]:
    """Return the Secrets that a part's container mounts, by path."""
    pod = pick(manifests, "Deployment", part)["spec"]["template"]["spec"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    return {
        mount["mountPath"]: secrets[mount["name"]] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] in secrets
    }


def test_keys_and_certificates_are_mounted_where_the_settings_look() -> None:
    manifests = render(*VARIANTS["keys"])
    environment_of = environment(manifests, "gateway")
    assert environment_of["SLIMRANK_API_KEYS_FILE"] == "/etc/slimrank/keys/keys.json"
    assert environment_of["SLIMRANK_TLS_CERTIFICATE"] == "/etc/slimrank/tls/tls.crt"
    assert environment_of["SLIMRANK_TLS_CLIENT_CA"] == "/etc/slimrank/tls/ca.crt"
    found = volumes(manifests, "gateway")
    assert found == {"/etc/slimrank/keys": "keys", "/etc/slimrank/tls": "tls", "/etc/slimrank/redis": "redis-tls"}
    assert volumes(manifests, "worker") == {"/etc/slimrank/redis": "redis-tls"}
    probes = [container(manifests, "gateway")[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    assert all("tcpSocket" in probe for probe in probes), "a probe has no client certificate"
    https = container(render("gateway.tls.secret=tls"), "gateway")
    assert https["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"


def test_the_password_of_redis_is_in_its_secret_and_in_no_other_manifest() -> None:
    manifests = render(*VARIANTS["scaled"])
    secret = pick(manifests, "Secret", "redis")["stringData"]
    password, keda_password = secret["password"], secret["keda-password"]
    assert len(password) == len(keda_password) == 40 and password != keda_password
    assert secret["url"] == f"redis://slimrank:{password}@demo-slimrank-redis:6379/0"
    rest = json.dumps([manifest for manifest in manifests if manifest["kind"] != "Secret"])
    assert password not in rest and keda_password not in rest
    for part in ("gateway", "worker"):
        assert environment(manifests, part)["SLIMRANK_REDIS_URL"] == {
            "secretKeyRef": {"name": "demo-slimrank-redis", "key": "url"}
        }
    reference = pick(manifests, "ScaledObject", "worker")["spec"]["triggers"][0]["authenticationRef"]
    assert pick(manifests, "TriggerAuthentication", "worker")["metadata"]["name"] == reference["name"]
    own = render("redis.existingSecret=mine")
    assert not [manifest for manifest in own if manifest["kind"] == "Secret"]
    assert volumes(own, "redis") == {"/etc/redis": "mine"}


@pytest.mark.redis
def test_the_charts_access_list_lets_its_users_do_their_work_and_no_more(tmp_path: Path) -> None:
    secret = pick(render(*VARIANTS["scaled"]), "Secret", "redis")["stringData"]
    assert f"~slimrank:* resetchannels {passwords.COMMANDS}\n" in secret["users.acl"]
    (tmp_path / "users.acl").write_text(secret["users.acl"])
    port = process.free_port()
    url = f"redis://127.0.0.1:{port}/0"
    options = ["--save", "", "--port", port, "--protected-mode", "no", "--aclfile", tmp_path / "users.acl"]
    with (
        redis_server(tmp_path, url, *options),
        redis.Redis(port=port, username="slimrank", password=secret["password"]) as ours,
        redis.Redis(port=port, username="keda", password=secret["keda-password"]) as scaler,
    ):
        queue = redis_clients.KEY_PREFIX + messages.queue_name(DEFAULT_MODEL_NAME)
        ours.lpush(queue, "job")
        # The script of KEDA's scaler: it reads the length of a key of any type.
        script = "if redis.call('type', KEYS[1]).ok == 'list' then return redis.call('llen', KEYS[1]) end return 0"
        assert scaler.eval(script, 1, queue) == 1
        for client, command in (
            (ours, ["EVAL", script, "1", queue]),
            (scaler, ["LPUSH", queue, "x"]),
            (scaler, ["LLEN", "slimrank:job:1"]),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_nobody_may_call_the_playground_and_it_calls_only_the_gateway_and_its_engine() -> None:
    manifests = render(*VARIANTS["playground"])
    policy = pick(manifests, "NetworkPolicy", "playground")["spec"]
    assert policy["ingress"] == []
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 8080, 9200]
    opened = render(*VARIANTS["playground"], "playground.callers[0].podSelector.matchLabels.app=ingress")
    assert pick(opened, "NetworkPolicy", "playground")["spec"]["ingress"][0]["from"] == [
        {"podSelector": {"matchLabels": {"app": "ingress"}}}
    ]
    peers = pick(manifests, "NetworkPolicy", "gateway")["spec"]["ingress"][0]["from"]
    assert peers[-1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "playground"


@pytest.mark.parametrize(
    ("value", "words"),
    [("gateway.tls.secret=t", "speaks plain HTTP"), ("gateway.apiKeys.secret=k", "playground.gatewayKey.secret")],
)
def test_a_playground_that_the_gateway_would_refuse_is_not_rendered(value: str, words: str) -> None:
    done = run("template", "demo", str(CHART), "--set", "playground.enabled=true", "--set", value)
    assert done.returncode != 0 and words in done.stderr
