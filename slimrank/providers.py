"""Choose where a graph runs: one setting names ONNX Runtime's execution providers.

``cpu`` needs the CPU wheel; ``cuda`` and ``tensorrt`` need the extra ``gpu``, whose wheel must not lie
beside the CPU wheel: both install the same files. A GPU that was asked for and is not in use is an
error at start, never a slow service; so is one that runs the model only in part, and a precision that the provider has no
kernels for. Export asks the same as serving does. Written against ONNX Runtime's documentation; on a GPU it was only
begun (docs/log/engine.md), so the choice is tested and the kernels are not.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from slimrank.errors import ConfigError, ModelNotReady, SlimrankError
from slimrank.graph_io import FOR_GPU

log = logging.getLogger(__name__)

NAMES: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
WHEELS = ("onnxruntime", "onnxruntime-gpu")
CUDA_OPTIONS = {
    # Shapes change with every batch: grow by what is asked for, and search no convolutions.
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
    # fp32 is asked for to be exact: with TF32 its products keep ten bits.
    "use_tf32": "0",
}
EXPERIMENTAL = "experimental setting=%s: it was written by its documentation and never ran on a GPU; compare scores with SLIMRANK_PROVIDER=cpu first"
"""The warning at the start of a process that uses TensorRT or CUDA graphs."""
NO_SATURATION = "session.x64quantprecision"
CUDA_GRAPHS = {"enable_cuda_graph": "1"}
PRODUCTS = frozenset(
    {"MatMul", "Gemm", "Attention", "MatMulIntegerToFloat", "MatMulNBits", "RMSNormalization", "SkipSimplifiedLayerNormalization"}
)
"""The operators that take the time. Lengths and shapes are always computed on the CPU."""

ON_GPU = ("fp32", *FOR_GPU)
PRECISIONS = {"cpu": ("fp32", "int8", "fp16", "int8-gpu"), "cuda": ON_GPU, "tensorrt": ON_GPU}
"""What each can run: a CPU has no products in bf16, a GPU none of unsigned activations by signed weights. Those for GPUs are
slow on a CPU, which only proves them. https://onnxruntime.ai/docs/execution-providers/, OperatorKernels.md of its sources."""


def check_precision(provider: str, precision: str) -> None:
    """Refuse a precision that a provider cannot run.

    Raises:
        ConfigError: it cannot, or there is no such provider.
    """
    _check_known(provider)
    if precision in PRECISIONS[provider]:
        return
    able = [name for name, precisions in PRECISIONS.items() if precision in precisions]
    raise ConfigError(
        f"{precision} was asked for on provider {provider}, which runs {', '.join(PRECISIONS[provider])}; export in one of these"
        + (f", or set SLIMRANK_PROVIDER to {' or '.join(able)}" if able else "")
    )


def chosen(provider: str, available: Collection[str], *, cuda_graphs: bool = False) -> list[Any]:
    """Return the providers to open a session with, best first.

    Args:
        available: What this build of ONNX Runtime offers.
        cuda_graphs: Let CUDA record runs and play them back.

    Raises:
        ConfigError: the setting names none, this build lacks it, both wheels are installed, or CUDA graphs were asked of another.
    """
    _check_known(provider)
    if cuda_graphs and provider != "cuda":
        raise ConfigError(f"SLIMRANK_CUDA_GRAPHS needs SLIMRANK_PROVIDER=cuda, found {provider}; set it, or leave the graphs out")
    if provider == "cpu":
        return [NAMES["cpu"]]
    if NAMES[provider] not in available:
        raise ConfigError(
            f"SLIMRANK_PROVIDER={provider} was asked for, and this ONNX Runtime offers {', '.join(sorted(available))};"
            " install the extra `gpu` in place of `serve`"
        )
    for name, is_asked in (("provider=tensorrt", provider == "tensorrt"), ("cuda_graphs=true", cuda_graphs)):
        if is_asked:
            log.warning(EXPERIMENTAL, name)
    both = [wheel for wheel in WHEELS if is_installed(wheel)]
    if len(both) > 1:
        raise ConfigError(f"{' and '.join(both)} are both installed and overwrite each other; remove both, then install `gpu`")
    on_cuda = (NAMES["cuda"], CUDA_OPTIONS | (CUDA_GRAPHS if cuda_graphs else {}))
    # TensorRT leaves to CUDA what it cannot run; shapes are worked out on the CPU in either case.
    return ([NAMES["tensorrt"]] if provider == "tensorrt" else []) + [on_cuda, NAMES["cpu"]]


def open_session(
    runtime: Any,
    graph: Path,
    options: Any,
    provider: str,
    *,
    cuda_graphs: bool = False,
    exact: bool = False,
    unloadable: type[SlimrankError] = ModelNotReady,
) -> Any:
    """Return a session that runs where it was asked to, for serving and export alike.

    Args:
        runtime: The module ``onnxruntime``, which core does not import.
        options: The session's, as its caller needs them.
        cuda_graphs: As in ``chosen``.
        exact: Where products of 8 bits may saturate, on a processor without VNNI, take wider ones. Each product's zero point must be
            an initializer of its own.
        unloadable: What a graph is that cannot be loaded, for the caller.

    Raises:
        ConfigError: as ``chosen``.
        ModelNotReady: the session fell back to another device, or leaves products to the CPU.
        unloadable: ONNX Runtime cannot load the graph.
    """
    runtime.disable_telemetry_events()  # a reranker on your own machines calls nobody
    wanted = chosen(provider, runtime.get_available_providers(), cuda_graphs=cuda_graphs)
    preload(provider, getattr(runtime, "preload_dlls", None))
    options.log_severity_level = 3
    options.add_session_config_entry(NO_SATURATION, "1" if exact else "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1" if provider != "cpu" else "0")
    try:
        session = runtime.InferenceSession(str(graph), options, providers=wanted)
    except Exception as error:  # ONNX Runtime's errors share no base class but Exception
        raise unloadable(f"ONNX Runtime cannot load {graph}: {error}; export the model again") from error
    check_in_use(provider, session.get_providers())
    if provider != "cpu":
        check_products(provider, assigned_nodes(session))
    return session


def assigned_nodes(session: Any) -> list[tuple[str, str]]:
    """Return the provider and the kind of each node of a session that was told to record them."""
    return [(part.ep_name, node.op_type) for part in session.get_provider_graph_assignment_info() for node in part.get_nodes()]


def check_in_use(provider: str, in_use: Sequence[str]) -> None:
    """Refuse a session that fell back to another device.

    Raises:
        ModelNotReady: the provider asked for is not the session's first.
    """
    if not in_use or in_use[0] != NAMES[provider]:
        raise ModelNotReady(
            f"SLIMRANK_PROVIDER={provider} was asked for, and the model runs on {', '.join(in_use) or 'nothing'};"
            " check the driver with `nvidia-smi`, and that the CUDA and cuDNN wheels of the extra `gpu` are installed"
        )


def check_products(provider: str, assigned: Iterable[tuple[str, str]]) -> None:
    """Refuse a session that left to the CPU what the GPU is there for.

    Args:
        assigned: The provider and the kind of each node.

    Raises:
        ModelNotReady: products or attention run on the CPU, as those of an int8 graph do.
    """
    left = Counter(kind for where, kind in assigned if where == NAMES["cpu"] and kind in PRODUCTS)
    if left:
        raise ModelNotReady(
            f"SLIMRANK_PROVIDER={provider} was asked for, and {', '.join(f'{count} {kind}' for kind, count in sorted(left.items()))}"
            " of this model would run on the CPU; export it for GPUs with `slimrank export --precision fp16`"
        )


def preload(provider: str, load: Callable[[], None] | None) -> None:
    """Load CUDA's and cuDNN's libraries from their wheels, before a session looks for them.

    Args:
        load: ``onnxruntime.preload_dlls``, where this build has it.
    """
    if provider != "cpu" and load is not None:
        load()


def _check_known(provider: str) -> None:
    if provider not in NAMES:
        raise ConfigError(f"there is no provider {provider}; choose {', '.join(NAMES)}")


def is_installed(package: str) -> bool:
    """Tell whether a distribution is installed under this name."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
