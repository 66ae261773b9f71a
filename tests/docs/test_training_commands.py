"""The training commands of the guides, unchanged and in their order, on a tiny model with tiny configurations."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slimrank.__main__ import app
from slimrank.evaluation import beir
from tests.docs.pages import ROOT, commands

PREPARE = "{seed: 7, group_size: 4, depth: 9, collections: [{folder: shop, queries: 6}]}\n"
CHAIN = ("prepare", "warmup", "finegrained", "average", "evaluate", "fit")
COLOURS, THINGS = ("red", "blue", "green"), ("shoes", "hats", "racks")


@pytest.fixture(scope="module")
def place(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the guide's files: a collection with three splits, a base model, and the configurations."""
    folder = tmp_path_factory.mktemp("trainer")
    shutil.copytree(tiny_checkpoint, folder / "BASE")
    shop, pairs = folder / "collections" / "shop", [(colour, thing) for colour in COLOURS for thing in THINGS]
    beir.write_documents(shop, [beir.Document(f"p{i}", "", f"{colour} {thing}") for i, (colour, thing) in enumerate(pairs)])
    beir.write_queries(shop, {f"q{i}": f"{colour} {thing}" for i, (colour, thing) in enumerate(pairs)})
    for split, rows in (("train", range(6)), ("dev", range(6, 9))):
        beir.write_qrels(shop, split, {f"q{i}": {f"p{i}": 1} for i in rows})
    configs = folder / "training" / "configs"
    configs.mkdir(parents=True)
    (configs / "prepare.yaml").write_text(PREPARE)
    shutil.copy(ROOT / "training/configs/tiny-warmup.yaml", configs / "warmup.yaml")
    shutil.copy(ROOT / "training/configs/tiny.yaml", configs / "finegrained.yaml")
    return folder


@pytest.mark.slow
def test_the_commands_of_the_guide_make_a_fitted_adapter_from_judgments(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for step in CHAIN:
        command = next(command for command in commands() if command.startswith(f"slimrank train {step} "))
        made = sorted(path.name for path in Path("runs/finegrained").glob("step-*"))[-2:]
        for name, instead in zip(re.findall(r"step-\d+", command), made, strict=False):
            command = command.replace(name, instead)
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
    assert {path.name for path in Path("runs/adapter").iterdir()} >= {"adapter_model.safetensors", "slimrank.json"}
