"""The tree keeps its shape: rooms, arrows that point one way, no cycles, a light core, and a README that tells the truth."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("slimrank", "training", "onnx_export", "connector", "deploy")
# A room is a folder with its files; the longest name here that a module begins with says in which room it is. A room may import from
# itself and from the rooms that are named beside it, so whoever reads an import knows that its room lies below.
MAY_IMPORT: dict[str, set[str]] = {
    "slimrank": set(),
    "slimrank.evaluation": {"slimrank"},
    "slimrank.engine": {"slimrank"},
    "slimrank.trials": {"slimrank", "slimrank.evaluation", "slimrank.engine"},
    "slimrank.serving": {"slimrank", "slimrank.engine"},
    "slimrank.serving.queue": {"slimrank", "slimrank.engine", "slimrank.serving"},
    "slimrank.serving.gateway": {"slimrank", "slimrank.engine", "slimrank.serving", "slimrank.serving.queue"},
    "slimrank.bench": {
        "slimrank", "slimrank.evaluation", "slimrank.engine", "slimrank.trials",
        "slimrank.serving", "slimrank.serving.queue", "slimrank.serving.gateway",
    },
    "onnx_export": {"slimrank", "slimrank.evaluation"},
    "training.config": {"slimrank"},
    "training.data": {"slimrank", "slimrank.evaluation", "training.config"},
    "training": {"slimrank", "slimrank.evaluation", "training.config", "training.data"},
    "connector": {"slimrank"},
    "connector.opensearch": {"slimrank", "slimrank.evaluation", "connector"},
    "connector.elasticsearch": {"slimrank", "connector"},
    "connector.frameworks": {"slimrank", "connector"},
    "connector.doctor": {
        "slimrank", "slimrank.evaluation", "slimrank.engine", "slimrank.trials", "slimrank.serving.queue", "connector"
    },
    "connector.proxy": {"slimrank", "slimrank.engine", "slimrank.serving", "slimrank.serving.gateway", "connector"},
    "connector.audit": {"slimrank", "connector"},
    "connector.audit.ask": {"slimrank", "connector", "connector.audit"},
    "connector.audit.compare": {"slimrank", "connector", "connector.audit", "connector.audit.ask"},
    "connector.audit.judge": {
        "slimrank", "slimrank.evaluation", "slimrank.engine",
        "connector", "connector.audit", "connector.audit.ask", "connector.audit.compare",
    },
    "connector.audit.report": {
        "slimrank", "connector.audit", "connector.audit.ask", "connector.audit.compare", "connector.audit.judge"
    },
    "connector.playground": {
        "slimrank", "slimrank.evaluation", "slimrank.engine", "slimrank.serving", "slimrank.serving.gateway",
        "connector", "connector.audit",
    },
    "deploy": {"slimrank", "slimrank.evaluation", "slimrank.engine", "connector", "connector.opensearch"},
}  # fmt: skip
# Roofs bring the rooms of their package together, as a command line does. They may import whatever lies under their package, or below
# it; no room imports a roof.
ROOFS = {
    "slimrank": PACKAGES,
    "slimrank.__main__": PACKAGES,
    "slimrank.serving.cli": ("slimrank",),
    "connector.cli": ("slimrank", "connector"),
    "connector.audit.cli": ("slimrank", "connector"),
    "connector.audit.flow": ("slimrank", "connector"),
    "connector.audit.swap": ("slimrank", "connector"),
    "connector.audit.sweep": ("slimrank", "connector"),
}
LAZY_ROOFS = {"slimrank", "slimrank.__main__"}
NOT_IN_CORE = {"torch", "transformers", "celery", "redis", "fastapi", "starlette", "onnxruntime", "onnx"}


@cache
def modules() -> dict[str, Path]:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


@cache
def imports(file: Path) -> set[str]:
    """Return every absolute module named by an import, also those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str:
    """Return the room of a module, or of a name in one."""
    return max((one for one in MAY_IMPORT if f"{name}.".startswith(f"{one}.")), key=len)


def imported_modules(module: str, known: dict[str, Path]) -> set[str]:
    """Return which of our modules one imports; of `from package import name` the module `name`, where it is one."""
    ours = {name for name in imports(known[module]) if name.split(".")[0] in PACKAGES}
    return {name if name in known else name.rpartition(".")[0] for name in ours} - {module}


@pytest.mark.parametrize("module", sorted(set(modules()) - set(ROOFS)))
def test_imports_follow_the_arrows(module: str) -> None:
    found = imported_modules(module, modules())
    assert {room(name) for name in found} <= MAY_IMPORT[room(module)] | {room(module)}
    assert not found & (set(ROOFS) - LAZY_ROOFS), "a roof is imported by no room"


@pytest.mark.parametrize("module", sorted(set(ROOFS) - LAZY_ROOFS))
def test_a_roof_imports_only_what_lies_below(module: str) -> None:
    assert {name.split(".")[0] for name in imported_modules(module, modules())} <= set(ROOFS[module])


def test_every_folder_of_modules_is_a_room() -> None:
    """A new folder is given its arrows, and does not slip into those of the folder above."""
    folders = {module for module, file in modules().items() if file.name == "__init__.py"}
    within_a_room = {
        "slimrank.evaluation.python_docs", "slimrank.serving.gateway.formats", "deploy.demo"
    }  # fmt: skip
    assert folders - within_a_room == set(MAY_IMPORT) - {"training.config"}


def test_rooms_stand_one_above_the_other() -> None:
    below = {name: set(others) for name, others in MAY_IMPORT.items()}
    while lowest := [name for name, others in below.items() if not others & below.keys()]:
        for name in lowest:
            del below[name]
    assert not below, "these rooms import each other in a circle"


def test_there_is_no_import_cycle() -> None:
    known = modules()
    edges = {module: imported_modules(module, known) for module in known}
    for roof in LAZY_ROOFS:
        edges[roof] = set()
    while leaves := [module for module, targets in edges.items() if not targets & edges.keys()]:
        for module in leaves:
            del edges[module]
    assert not edges


def test_nothing_imports_the_bench() -> None:
    importers = {
        module
        for module in set(modules()) - LAZY_ROOFS
        if any(room(name) == "slimrank.bench" for name in imported_modules(module, modules()))
    }
    assert {room(module) for module in importers} <= {"slimrank.bench"}


def test_the_core_and_the_evaluation_name_no_heavy_library() -> None:
    light = {module: file for module, file in modules().items() if room(module) in ("slimrank", "slimrank.evaluation")}
    heavy = {module: {name.split(".")[0] for name in imports(file)} & NOT_IN_CORE for module, file in light.items()}
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


@pytest.mark.parametrize("module", sorted(modules()))
def test_no_parameter_hides_a_function_that_is_called(module: str) -> None:
    """In a function with a parameter `as_json`, a call of the file's own `as_json` fails, and only when it runs."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
            called = {
                node.func.id for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
            assert not parameters & called & own, f"{module}.{function.name}"
