"""Shipped models: made by name, with as many layers of the base model as the adapter keeps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from onnx_export.adapter import merge, record_precision
from slimrank import Reranker, manifest, store
from slimrank import settings as process_settings
from slimrank.adapters import ADAPTER_HASH_KEY, VALUES_FILE, adapter_hash, layers_of
from slimrank.errors import ModelSourceError
from slimrank.prompt import SLIMRANK, PromptEncoder
from slimrank.settings import DEFAULT_MODEL_NAME
from slimrank.store import shipped_adapter
from tests.command import slimrank
from tests.shipping import BASE, SHALLOW, Shipping
from tests.tiny import DOCUMENTS, make_adapter
from training.evaluate import write_values

QUERY, TEXTS = "when does the bakery open", [text for text in DOCUMENTS if text]


def torch_scores(base: Path, adapter: Path, layers: int) -> list[float]:
    """Return the scores of the base model with the adapter in torch, with layers removed in memory."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    encoder = PromptEncoder(SLIMRANK, tokenizer, max_pair_tokens=512, max_query_tokens=256)
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    model.model.layers = model.model.layers[:layers]
    sides = load_file(adapter / "adapter_model.safetensors")
    down, up = (sides[f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight"] for side in "AB")
    with torch.inference_mode():
        model.model.layers[0].self_attn.q_proj.weight += up @ down  # rank and alpha are equal
        found = []
        for text in TEXTS:
            logits = model(torch.tensor([encoder.pair_ids(QUERY, text).ids]), use_cache=False).logits[0, -1]
            found.append((logits[encoder.relevant_id] - logits[encoder.irrelevant_id]).item())
    return found


def test_a_model_made_by_name_scores_as_its_base_with_the_adapter_and_only_the_kept_layers(
    shipping: Shipping,
) -> None:
    made = manifest.check(shipping.shallow)
    assert (made.name, made.architecture.layers, made.trained) == (SHALLOW, 1, True)
    assert (made.fusion.weight if made.fusion else None, made.calibration.scale) == (0.3, 2.0), "they belong to the shallow model"
    assert made.made_with[ADAPTER_HASH_KEY] == adapter_hash(shipped_adapter(SHALLOW))

    found = Reranker.load(SHALLOW).scorer.score(QUERY, TEXTS).scores
    base, adapter = shipping.home / BASE, shipping.adapters / SHALLOW
    np.testing.assert_allclose(found, torch_scores(base, adapter, 1), atol=1e-3)
    assert np.abs(found - torch_scores(base, adapter, 2)).max() > 0.1, "the whole model scores otherwise"


def test_a_model_that_is_current_is_not_made_again(shipping: Shipping) -> None:
    graph = shipping.shallow / manifest.GRAPH_FILE
    before = graph.stat().st_mtime_ns
    done = slimrank("model", "pull", SHALLOW, "--json")
    assert (done.code, json.loads(done.out)["name"], graph.stat().st_mtime_ns) == (0, SHALLOW, before)


@pytest.mark.parametrize("name", ["no-such-model", "../home", "", "."])
def test_an_unknown_name_is_refused_with_the_names_of_shipped_models(shipping: Shipping, name: str) -> None:
    done = slimrank("model", "pull", name)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"no model of that name ships; name one of {DEFAULT_MODEL_NAME}, {SHALLOW}" in done.err


def test_an_installation_without_the_default_adapter_is_refused(shipping: Shipping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimrank.store.SHIPPED", ())
    with pytest.raises(ModelSourceError, match=f"lacks the adapter models/{DEFAULT_MODEL_NAME}; install slimrank again"):
        shipped_adapter(DEFAULT_MODEL_NAME)


def test_the_list_shows_made_models_and_shipped_models_with_the_command_that_makes_them(shipping: Shipping) -> None:
    rows = {row["name"]: row for row in json.loads(slimrank("model", "list", "--json").out)["models"]}
    assert rows.keys() == {SHALLOW, DEFAULT_MODEL_NAME}
    assert rows[SHALLOW]["served"] is True and rows[SHALLOW]["base"] == "llama, 1 layers"
    waiting = rows[DEFAULT_MODEL_NAME]
    assert waiting["served"] is False and waiting["folder"] == str(shipping.home / "models" / DEFAULT_MODEL_NAME)
    assert waiting["fault"] == f"this shipped model is not made yet; make it with `slimrank model pull {DEFAULT_MODEL_NAME}`"
    assert f"slimrank model pull {DEFAULT_MODEL_NAME}" in slimrank("model", "list").out


def test_a_model_that_was_made_with_another_adapter_is_served_with_a_warning_that_names_the_command(
    shipping: Shipping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = process_settings.load()
    assert store.folder_of(Path(SHALLOW), settings) == shipping.shallow
    assert caplog.messages == []
    upgraded = Path(shutil.copytree(shipping.adapters, tmp_path / "upgraded"))
    values = json.loads((upgraded / SHALLOW / VALUES_FILE).read_text())
    (upgraded / SHALLOW / VALUES_FILE).write_text(json.dumps(values | {"fusion": {"weight": 0.7, "first_stage": "bm25"}}))
    monkeypatch.setattr(store, "SHIPPED", (upgraded,))
    assert store.folder_of(Path(SHALLOW), settings) == shipping.shallow
    assert f"`slimrank model pull {SHALLOW}` makes it again" in caplog.text


@pytest.mark.parametrize("asked", [[], ["--layers", 1]], ids=["adapter alone", "the same said again"])
def test_an_export_keeps_the_number_of_layers_that_the_adapter_says(
    shipping: Shipping, tmp_path: Path, asked: list[object]
) -> None:
    command = ["export", shipping.home / BASE, "--adapter", shipping.adapters / SHALLOW, "--home", tmp_path / "home"]
    done = slimrank(*command, "--out", tmp_path / "model", "--no-verify", *asked)
    assert done.code == 0, done.err
    made = manifest.read(tmp_path / "model")
    assert (made.architecture.layers, made.calibration.scale) == (1, 2.0)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (SHALLOW, ["--layers", 2], f"asked to keep 2 layers, but the adapter {{}}/{SHALLOW} was trained with the first 1"),
        (
            DEFAULT_MODEL_NAME,
            ["--layers", 1, "--precision", "auto", "--record"],
            'to say that the adapter keeps 1 layers, and it does not; add "layers": 1 there',
        ),
    ],
    ids=["contradicts", "would be recorded for another model"],
)
def test_an_export_that_contradicts_its_adapter_is_refused_before_any_work(
    shipping: Shipping, tmp_path: Path, name: str, options: list[object], words: str
) -> None:
    done = slimrank("export", "BASE", "--adapter", shipping.adapters / name, "--out", tmp_path / "model", *options)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert words.format(shipping.adapters) in done.err
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("layers", [0, -1, "1", 1.0, True, [1]])
def test_an_invalid_number_of_layers_is_refused(tiny_checkpoint: Path, tmp_path: Path, layers: object) -> None:
    adapter = make_adapter(tiny_checkpoint, tmp_path / "adapter")
    (adapter / VALUES_FILE).write_text(json.dumps({"layers": layers}))
    with pytest.raises(ModelSourceError, match="a whole number from 1; found"):
        merge(adapter, tiny_checkpoint, tmp_path / "merged")


def test_a_base_with_fewer_layers_is_refused_and_one_with_exactly_as_many_is_accepted(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    adapter = make_adapter(tiny_checkpoint, tmp_path / "adapter", layers=3)
    with pytest.raises(ModelSourceError, match=r"does not fit the base model .* keep 3 layers of .*, which has 2"):
        merge(adapter, tiny_checkpoint, tmp_path / "merged")
    (adapter / VALUES_FILE).write_text(json.dumps({"layers": 2}))
    merged = merge(adapter, tiny_checkpoint, tmp_path / "merged")
    assert json.loads((merged / "config.json").read_text())["num_hidden_layers"] == 2


def test_an_adapter_that_changes_a_layer_which_it_does_not_keep_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = make_adapter(tiny_checkpoint, tmp_path / "adapter", layers=1)
    weights = load_file(adapter / "adapter_model.safetensors")
    above = {name.replace("layers.0.", "layers.1."): weight.clone() for name, weight in weights.items()}
    save_file(weights | above, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelSourceError, match=r"does not fit the base model .* model\.layers\.1\.self_attn\.q_proj\.weight"):
        merge(adapter, tiny_checkpoint, tmp_path / "merged")


def test_fitting_and_recording_keep_the_number_of_layers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_checkpoint, tmp_path / "adapter", layers=1)
    write_values(adapter, {"fusion": {"weight": 0.5, "first_stage": "bm25"}})  # as `train fit` does
    record_precision(adapter, {"precision": "int8"})  # as `export --record` does
    assert layers_of(adapter) == 1


def test_another_number_of_layers_gives_another_adapter_hash(tiny_checkpoint: Path, tmp_path: Path) -> None:
    shallow = make_adapter(tiny_checkpoint, tmp_path / "shallow", layers=1)
    deep = Path(shutil.copytree(shallow, tmp_path / "deep"))
    (deep / VALUES_FILE).write_text(json.dumps({"layers": 2}))
    assert adapter_hash(shallow) != adapter_hash(deep)
