"""The tree keeps its shape: arrows, no cycles, a light core, and a README that tells the truth."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("slimrank", "training", "onnx_export", "connector", "deploy")
MAY_IMPORT = {
    "slimrank": {"slimrank"},
    "slimrank.serving": {"slimrank", "slimrank.serving"},
    "training": {"slimrank", "training"},
    "onnx_export": {"slimrank", "onnx_export"},
    "connector": {"slimrank", "slimrank.serving", "connector"},
    "deploy": {"slimrank", "slimrank.serving", "connector", "deploy"},
}
# The two roofs: the command line hangs every package's commands, the public face every public name; both lazily.
ROOFS = {"slimrank.__main__", "slimrank"}
NOT_IN_CORE = {"torch", "transformers", "celery", "redis", "fastapi", "starlette", "onnxruntime", "onnx"}


def modules() -> dict[str, Path]:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path) -> set[str]:
    """Return every absolute module named by an import, also those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(module: str) -> str:
    return "slimrank.serving" if module.startswith("slimrank.serving") else module.split(".")[0]


@pytest.mark.parametrize("module", sorted(set(modules()) - ROOFS))
def test_imports_follow_the_arrows(module: str) -> None:
    ours = {name for name in imports(modules()[module]) if name.split(".")[0] in PACKAGES}
    assert {layer(name) for name in ours} <= MAY_IMPORT[layer(module)]


def test_there_is_no_import_cycle() -> None:
    known = modules()
    edges = {module: {name for name in imports(file) if name in known and name != module} for module, file in known.items()}
    for roof in ROOFS:
        edges[roof] = set()
    while leaves := [module for module, targets in edges.items() if not targets & edges.keys()]:
        for module in leaves:
            del edges[module]
    assert not edges


def test_the_core_names_no_heavy_library() -> None:
    core = {module: file for module, file in modules().items() if layer(module) == "slimrank"}
    heavy = {module: {name.split(".")[0] for name in imports(file)} & NOT_IN_CORE for module, file in core.items()}
    assert not {module: names for module, names in heavy.items() if names}


@pytest.mark.parametrize("module", ["slimrank.serving.gateway.app", "slimrank.serving.queue.tasks", "slimrank.engine.reranker"])
def test_serving_starts_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_lists_every_command_without_importing_it() -> None:
    code = "import sys; sys.argv = ['slimrank', '--help']\nfrom slimrank.__main__ import main\ntry: main()\nexcept SystemExit: pass\nsys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("model", "export", "verify", "rank", "evaluate", "serve", "worker", "connect"))
