"""An exported cross-encoder of any family scores as its checkpoint; a model that gives no score for a pair is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from onnx_export.checkpoint import quiet
from onnx_export.choose import PAIR_CANDIDATES, export_fastest
from onnx_export.cross_encoder import kind_of
from onnx_export.export import export
from onnx_export.runner import GraphRunner
from onnx_export.verify import verify
from slimrank import manifest as manifests
from slimrank.engine.session import OrtScorer
from slimrank.errors import ConfigError, ManifestError, ModelSourceError
from slimrank.manifest import GRAPH_FILE, file_records
from slimrank.prompt import Prompt, PromptEncoder
from tests.command import slimrank
from tests.tiny_pairs import KINDS, make_cross_encoder, make_embedder, make_pair_model

QUERY = "the largest moon of saturn"
DOCUMENTS = ["Titan is the largest moon of Saturn.", "A bakery sells rye bread. [SEP] </s>", "noon", "titan " * 900]


def ignore(*told: object) -> None:
    """Report nothing."""


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("checkpoints") / request.param, request.param)


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint's model folder in fp32."""
    return make_pair_model(checkpoint, tmp_path_factory.mktemp("models") / checkpoint.name)


def transformers_scores(checkpoint: Path, documents: list[str]) -> list[float]:
    """Return the scores of transformers for pairs that the checkpoint's own tokenizer joins and cuts."""
    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    types = ["token_type_ids"] if tokenizer("a", "b").encodings[0].type_ids[-1] else []
    scores = []
    with torch.inference_mode(), quiet():
        for document in documents:
            encoded = tokenizer(QUERY, document, truncation="only_second", max_length=512, padding=False, return_tensors="pt")
            given = {name: encoded[name] for name in ["input_ids", "attention_mask", *types]}
            scores.append(_score(checkpoint, given))
    return scores


def _score(checkpoint: Path, given: Any) -> float:
    if checkpoint.name != "ettin":
        return float(AutoModelForSequenceClassification.from_pretrained(checkpoint)(**given).logits[0, 0])
    dense, norm, last = (load_file(checkpoint / f"{part}/model.safetensors") for part in ("2_Dense", "3_LayerNorm", "4_Dense"))
    first_token = AutoModel.from_pretrained(checkpoint)(**given).last_hidden_state[:, 0]
    hidden = torch.nn.functional.gelu(first_token @ dense["linear.weight"].T)
    hidden = torch.nn.functional.layer_norm(hidden, hidden.shape[-1:], norm["norm.weight"], norm["norm.bias"])
    return float(hidden @ last["linear.weight"].T + last["linear.bias"])


def test_its_folder_scores_as_transformers_scores_the_checkpoints_own_pairs(checkpoint: Path, model: Path) -> None:
    found = manifests.check(model)
    assert found.kind == "cross_encoder"
    assert found.verification is not None
    assert found.verification.max_score_difference < 1e-4
    harmless = [DOCUMENTS[0], DOCUMENTS[2], DOCUMENTS[3]]  # the other contains special tokens, which are plain characters here
    scored = OrtScorer.load(model, threads=1).score(QUERY, harmless)
    assert scored.scores.tolist() == pytest.approx(transformers_scores(checkpoint, harmless), abs=1e-4)
    assert scored.truncated.tolist() == [False, False, True]
    assert len(set(scored.scores.round(3))) == 3


def test_in_8_bits_a_score_is_close_and_does_not_depend_on_other_rows(checkpoint: Path, model: Path, tmp_path: Path) -> None:
    folder = make_pair_model(checkpoint, tmp_path / "model", precision="int8")
    kinds = {node.op_type for node in onnx.load(str(folder / GRAPH_FILE)).graph.node}
    assert "MatMulIntegerToFloat" in kinds
    scorer = OrtScorer.load(folder, threads=1)
    together = scorer.score(QUERY, DOCUMENTS).scores
    alone = np.concatenate([scorer.score(QUERY, [document]).scores for document in DOCUMENTS])
    assert together.tolist() == pytest.approx(alone.tolist(), abs=1e-5)
    exact = GraphRunner(model, manifests.read(model))
    encoder = scorer.encoder
    rows = [encoder.pair_ids(QUERY, document).ids for document in DOCUMENTS]
    assert together.tolist() == pytest.approx(exact.score(rows).tolist(), abs=0.5)


def test_a_users_special_tokens_are_plain_characters(tiny_pair_model: Path) -> None:
    encoder = OrtScorer.load(tiny_pair_model, threads=1).encoder
    ids = encoder.pair_ids("[CLS] moon", "bread [SEP] rye").ids
    assert [ids.count(encoder.head_ids[0]), ids.count(encoder.separator_ids[0])] == [1, 2]


def test_a_graph_with_other_scores_is_refused(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    folder = make_pair_model(tiny_cross_encoder, tmp_path / "model")
    graph = onnx.load(str(folder / GRAPH_FILE))
    weight = next(tensor for tensor in graph.graph.initializer if tensor.name == "classifier.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, weight.name))
    onnx.save(graph, str(folder / GRAPH_FILE))
    found = manifests.read(folder)
    found.model_copy(update={"files": file_records(folder, found.files)}).save(folder)
    assert not verify(folder, ignore).passed
    with pytest.raises(ManifestError, match="failed verification"):
        OrtScorer.load(folder)


def test_a_pair_template_that_differs_from_the_checkpoints_is_refused(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    folder = make_pair_model(tiny_cross_encoder, tmp_path / "model")
    prompt = Prompt("pair", prefix="[CLS]", query="{query}", document="{document}", suffix="[SEP]")
    prompt.save(folder / "prompt.json")
    found = manifests.read(folder)
    update = {"files": file_records(folder, found.files), "prompt_sha256": prompt.digest()}
    found.model_copy(update=update).save(folder)
    assert not verify(folder, ignore).passed


def test_a_model_without_a_single_score_for_a_pair_is_refused_in_one_line(tmp_path: Path) -> None:
    several = make_cross_encoder(tmp_path / "several", labels=3)
    with pytest.raises(ModelSourceError, match="3 logits, and a reranker needs one") as refused:
        export(several, tmp_path / "model", ignore)
    embeds = make_embedder(tmp_path / "embeds")
    with pytest.raises(ModelSourceError, match="BertModel, which gives embeddings and no score") as refused_too:
        export(embeds, tmp_path / "model", ignore)
    assert "\n" not in f"{refused.value}{refused_too.value}"
    assert not (tmp_path / "model").exists()


def test_unsupported_precisions_and_lengths_are_refused(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be exported in fp16; choose fp32 or int8"):
        export(tiny_cross_encoder, tmp_path / "model", ignore, precision="fp16")
    with pytest.raises(ConfigError, match="positions for 512"):
        export(tiny_cross_encoder, tmp_path / "model", ignore, max_pair_tokens=600)
    roberta = make_cross_encoder(tmp_path / "roberta", "xlm-roberta")
    with pytest.raises(ConfigError, match="positions for 512"):  # its table has 514, two of them for padding
        export(roberta, tmp_path / "model", ignore, max_pair_tokens=514)


def test_auto_tries_8_bits_and_fp32(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    options: Any = {"name": None, "prompt": Prompt("", "", "", "", ""), "max_pair_tokens": 512, "trained": False}
    made = export_fastest(tiny_cross_encoder, tmp_path / "model", ignore, candidates=PAIR_CANDIDATES, **options)
    assert '"int8"' in made.made_with["candidates"]
    assert manifests.check(tmp_path / "model").kind == "cross_encoder"


def test_the_command_exports_a_cross_encoder_and_prints_its_kind(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "minilm"
    done = slimrank("export", tiny_cross_encoder, "--out", folder, "--home", tmp_path)
    assert done.code == 0, done.err
    listed = slimrank("model", "list", "--home", tmp_path).out
    for line in ("kind                   cross encoder", "base                   bert, 2 layers", "takes_instructions     False"):
        assert line in listed
    assert kind_of(tiny_cross_encoder) == "cross_encoder"
    refused = slimrank("export", tiny_cross_encoder, "--plain", "--out", folder, "--home", tmp_path)
    assert refused.code != 0
    assert "--plain is for language models" in refused.err


def test_the_token_ids_are_those_of_the_tokenizers_own_pairs(model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    encoder = PromptEncoder(Prompt.load(model / "prompt.json"), Tokenizer.from_file(str(model / "tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for query, document in ((QUERY, DOCUMENTS[0]), ("Ünïcode  x", " two  spaces\nand a line "), ("a", "")):
        assert encoder.pair_ids(query, document).ids == tokenizer.encode(query, document).ids
