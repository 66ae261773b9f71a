"""Every way to an engine follows the settings: a provider that is not here is refused by each, and no file opens one of its own."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from slimrank import Reranker
from slimrank.bench import peers
from slimrank.bench.curves import measure_curves
from slimrank.bench.determinism import measure_determinism
from slimrank.bench.memory import measure_memory
from slimrank.engine.model import Model
from slimrank.errors import ConfigError
from slimrank.settings import load
from tests.command import slimrank

WAYS: dict[str, Callable[[Path], object]] = {
    "library": Reranker.load,
    "worker": lambda folder: Model.from_settings(load(model=folder)),
    "memory": lambda folder: measure_memory(folder, requests=1, most_documents=1, threads=1, seed=0),
    "determinism": lambda folder: measure_determinism(folder, rounds=1, threads=1, seed=0),
    "curves": lambda folder: measure_curves(folder, threads=[1], most_documents=1, seed=0),
    "peers": lambda folder: peers.fused(str(folder), 1),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_provider_that_is_not_here_is_refused_by_every_way_in(
    way: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMRANK_PROVIDER", "tensorrt")
    with pytest.raises(ConfigError, match="SLIMRANK_PROVIDER=tensorrt was asked for"):
        WAYS[way](tiny_model)


@pytest.mark.parametrize("arguments", [["playground"], ["rank", "--query", "q", "-"], ["worker"]])
def test_commands_refuse_it_in_one_line(
    arguments: list[str], tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIMRANK_PROVIDER", "tensorrt")
    monkeypatch.setenv("SLIMRANK_HOME", str(tmp_path))
    (tmp_path / "lines").write_text("a\n")
    done = slimrank(*(str(tmp_path / "lines") if word == "-" else word for word in arguments), "--model", tiny_model)
    assert done.code == 2
    assert "SLIMRANK_PROVIDER=tensorrt was asked for" in " ".join(done.err.split())


def test_a_session_is_opened_in_one_place_only() -> None:
    folder = Path(__file__).parents[2] / "slimrank"
    opening = {path.name for path in folder.rglob("*.py") if re.search(r"OrtScorer\.load\(", path.read_text(encoding="utf-8"))}
    assert opening == {"loading.py"}
