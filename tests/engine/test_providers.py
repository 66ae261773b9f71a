"""A GPU that was asked for is in use, or the start fails; which it is, needs no GPU to test."""

from pathlib import Path

import onnxruntime as ort
import pytest

from onnx_export.runner import GraphRunner
from slimrank import providers
from slimrank.engine.session import OrtScorer
from slimrank.errors import ConfigError, ModelNotReady
from slimrank.manifest import read
from slimrank.settings import Settings

GPU_BUILD = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def gpu_wheel_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "is_installed", lambda package: package == "onnxruntime-gpu")


def test_the_cpu_is_never_more_than_the_cpu() -> None:
    assert providers.chosen("cpu", GPU_BUILD) == ["CPUExecutionProvider"]


@pytest.mark.usefixtures("gpu_wheel_alone")
def test_cuda_graphs_are_an_option_of_cuda() -> None:
    assert providers.chosen("cuda", GPU_BUILD)[0][1].get("enable_cuda_graph") is None
    assert providers.chosen("cuda", GPU_BUILD, cuda_graphs=True)[0][1]["enable_cuda_graph"] == "1"
    with pytest.raises(ConfigError, match="found tensorrt"):
        providers.chosen("tensorrt", GPU_BUILD, cuda_graphs=True)


def test_a_model_whose_products_run_elsewhere_is_refused(tiny_model: Path) -> None:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(str(tiny_model / "model.onnx"), options, providers=["CPUExecutionProvider"])
    nodes = providers.assigned_nodes(session)
    with pytest.raises(ModelNotReady, match=r"8 Attention.*--precision fp16"):
        providers.check_products("cuda", nodes)
    shapes_only = [("CPUExecutionProvider", kind) for _, kind in nodes if kind in ("Shape", "Slice", "Concat")]
    providers.check_products("cuda", [("CUDAExecutionProvider", "MatMul"), *shapes_only])


@pytest.mark.usefixtures("gpu_wheel_alone")
def test_export_and_serving_refuse_a_session_that_says_cuda_and_runs_products_on_the_cpu(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SaysCuda(ort.InferenceSession):
        def __init__(self, graph: str, options: ort.SessionOptions, providers: object) -> None:
            super().__init__(graph, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return GPU_BUILD[1:]

    monkeypatch.setattr(ort, "InferenceSession", SaysCuda)
    monkeypatch.setattr(ort, "get_available_providers", lambda: GPU_BUILD)
    for load in (
        lambda: OrtScorer.load(tiny_model, provider="cuda"),
        lambda: GraphRunner(tiny_model, read(tiny_model), provider="cuda"),
    ):
        with pytest.raises(ModelNotReady, match="8 Attention"):
            load()


def test_a_precision_that_a_provider_has_no_kernels_for_is_refused_in_words() -> None:
    for provider, precision in (
        ("cpu", "int8"),
        ("cpu", "int8-gpu"),
        ("cuda", "bf16"),
        ("tensorrt", "int8-gpu"),
        ("cuda", "fp32"),
    ):
        providers.check_precision(provider, precision)
    with pytest.raises(
        ConfigError, match=r"bf16 was asked for on provider cpu, which runs fp32.*SLIMRANK_PROVIDER to cuda or tensorrt"
    ):
        providers.check_precision("cpu", "bf16")
    with pytest.raises(
        ConfigError, match="int8 was asked for on provider cuda, which runs fp32, fp16, bf16, int8-gpu; export in one"
    ):
        providers.check_precision("cuda", "int8")
    with pytest.raises(ConfigError, match="choose cpu, cuda, tensorrt"):
        providers.check_precision("rocm", "fp16")


def test_a_folder_in_a_precision_for_cpus_is_refused_before_it_is_opened_on_a_gpu(model_copy: Path) -> None:
    read(model_copy).model_copy(update={"precision": "int8"}).save(model_copy)
    with pytest.raises(ConfigError, match="int8 was asked for on provider cuda"):
        OrtScorer.load(model_copy, provider="cuda")
    read(model_copy).model_copy(update={"precision": "bf16"}).save(model_copy)
    with pytest.raises(ConfigError, match="bf16 was asked for on provider cpu"):
        OrtScorer.load(model_copy)


@pytest.mark.usefixtures("gpu_wheel_alone")
def test_what_was_asked_for_comes_first() -> None:
    assert [one if isinstance(one, str) else one[0] for one in providers.chosen("cuda", GPU_BUILD)] == GPU_BUILD[1:]
    assert [one if isinstance(one, str) else one[0] for one in providers.chosen("tensorrt", GPU_BUILD)] == GPU_BUILD


def test_a_build_without_it_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="install the extra `gpu` in place of `serve`"):
        providers.chosen("cuda", ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="choose cpu, cuda, tensorrt"):
        providers.chosen("rocm", GPU_BUILD)


def test_both_wheels_beside_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "is_installed", lambda package: True)
    with pytest.raises(ConfigError, match="both installed"):
        providers.chosen("cuda", GPU_BUILD)


def test_a_session_that_fell_back_is_refused() -> None:
    providers.check_in_use("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(ModelNotReady, match="runs on CPUExecutionProvider"):
        providers.check_in_use("cuda", ["CPUExecutionProvider"])


def test_libraries_are_loaded_for_a_gpu_only() -> None:
    loaded: list[str] = []
    providers.preload("cpu", lambda: loaded.append("cpu"))
    providers.preload("cuda", lambda: loaded.append("cuda"))
    providers.preload("cuda", None)
    assert loaded == ["cuda"]


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this build has a GPU's provider")
def test_the_setting_reaches_the_session(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="SLIMRANK_PROVIDER=cuda"):
        OrtScorer.load(tiny_model, provider=Settings(provider="cuda").provider)


@pytest.mark.parametrize(
    ("asked", "named"),
    [(("cuda", False), []), (("cuda", True), ["cuda_graphs=true"]), (("tensorrt", False), ["provider=tensorrt"])],
)
def test_what_never_ran_on_a_gpu_says_so_when_it_is_chosen(
    asked: tuple[str, bool], named: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    provider, cuda_graphs = asked
    providers.chosen(provider, GPU_BUILD, cuda_graphs=cuda_graphs)
    said = [record.getMessage() for record in caplog.records]
    assert [name for message in said for name in named if f"experimental setting={name}:" in message] == named
    assert len(said) == len(named)
