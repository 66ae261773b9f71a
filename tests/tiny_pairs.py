"""Tiny random cross-encoders made at test time, each with a tokenizer of its family's kind and that family's pair template.

WordPiece with token types (BERT), unigrams with two separators and positions behind padding's (XLM-R), byte-level BPE with rotary
positions and local attention (ModernBERT), and the last as sentence-transformers writes Ettin's: a chain of modules.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

WORDS = [
    "query document relevance judge whether the document answers the query",
    "the largest moon of saturn is titan, and a bakery sells rye bread before noon: 7 0 1!",
]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
KINDS = ("bert", "xlm-roberta", "modernbert", "ettin")


def make_cross_encoder(folder: Path, kind: str = "bert", *, labels: int = 1) -> Path:
    """Write a random checkpoint of one of ``KINDS``."""
    import torch

    from onnx_export.checkpoint import quiet

    tokenizer, special = _tokenizer(kind)
    torch.manual_seed(23)
    with quiet():
        model = _model(kind, tokenizer.get_vocab_size(), labels)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() or "bias" in name:  # at 1 and 0 they would hide that one is left out
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif "classifier" in name:  # scores apart from each other, as a trained model's
                parameter.mul_(5)
    model.save_pretrained(folder)
    _save_tokenizer(tokenizer, special, folder)
    if kind == "ettin":
        _take_apart(model, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random BERT cross-encoder's checkpoint; read only."""
    return make_cross_encoder(tmp_path_factory.mktemp("checkpoints") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_pair_model(tiny_cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its verified model folder; read only."""
    return make_pair_model(tiny_cross_encoder, tmp_path_factory.mktemp("models") / "tiny-bert")


def make_embedder(folder: Path) -> Path:
    """Write a random BERT without a head, as a model of embeddings is."""
    from transformers import BertConfig, BertModel

    tokenizer, special = _tokenizer("bert")
    config: Any = BertConfig(vocab_size=tokenizer.get_vocab_size(), **SHAPE)
    BertModel(config).save_pretrained(folder)
    _save_tokenizer(tokenizer, special, folder)
    return folder


def make_pair_model(checkpoint: Path, folder: Path, *, precision: Any = "fp32") -> Path:
    """Export and verify a model folder of a cross-encoder."""
    from onnx_export.export import export
    from onnx_export.verify import verify

    export(checkpoint, folder, lambda *_: None, precision=precision)
    verify(folder, lambda *_: None)
    return folder


def _model(kind: str, vocabulary: int, labels: int) -> Any:
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        ModernBertConfig,
        ModernBertForSequenceClassification,
        XLMRobertaConfig,
        XLMRobertaForSequenceClassification,
    )  # fmt: skip

    shape = SHAPE | {"vocab_size": vocabulary, "num_labels": labels, "initializer_range": 0.2}
    if kind == "bert":
        return BertForSequenceClassification(BertConfig(**shape))
    if kind == "xlm-roberta":
        config = XLMRobertaConfig(**shape, max_position_embeddings=514, pad_token_id=1, bos_token_id=0, eos_token_id=2)
        return XLMRobertaForSequenceClassification(config)
    tokens = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    config = ModernBertConfig(**shape, **tokens, reference_compile=False, local_attention=16, global_attn_every_n_layers=2)
    return ModernBertForSequenceClassification(config)


def _tokenizer(kind: str) -> tuple[Tokenizer, dict[str, str]]:
    if kind == "xlm-roberta":
        special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=list(special.values()), unk_token="<unk>", show_progress=False
        )
        first, between, last = "<s>", "</s> </s>", "</s>"
    else:
        special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
        first, between, last = "[CLS]", "[SEP]", "[SEP]"
        if kind == "bert":
            tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
            tokenizer.normalizer = normalizers.BertNormalizer()
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=list(special.values()), show_progress=False)
        else:
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(
                vocab_size=400, special_tokens=list(special.values()), initial_alphabet=alphabet, show_progress=False
            )
    tokenizer.train_from_iterator(WORDS * 20, trainer)
    second = ":1" if kind == "bert" else ""
    parts = [first, "$A", *between.split(), f"$B{second}", f"{last}{second}"]
    ids = [(token, tokenizer.token_to_id(token)) for token in {first, last}]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=" ".join(parts), special_tokens=ids
    )
    tokenizer.enable_padding(length=32, pad_id=tokenizer.token_to_id(special["pad_token"]), pad_token=special["pad_token"])
    tokenizer.enable_truncation(32)  # both are often saved with a tokenizer, and not for pairs
    return tokenizer, special


def _save_tokenizer(tokenizer: Tokenizer, special: dict[str, str], folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special).save_pretrained(folder)


def _take_apart(model: Any, folder: Path) -> None:
    """Rewrite ModernBERT's classifier as sentence-transformers 5.7 saves Ettin's: the body, and its head in modules."""
    from safetensors.torch import save_file

    hidden = SHAPE["hidden_size"]
    model.model.save_pretrained(folder)
    modules = [("base.modules.transformer.Transformer", "")]
    for kind, weights, config in (
        ("sentence_transformer.modules.pooling.Pooling", None, {"embedding_dimension": hidden, "pooling_mode": "cls"}),
        ("base.modules.dense.Dense", {"linear.weight": model.head.dense.weight}, _dense(hidden, "activation.GELU", bias=False)),
        ("sentence_transformer.modules.layer_norm.LayerNorm", {"norm.weight": model.head.norm.weight}, {"dimension": hidden}),
        (
            "base.modules.dense.Dense",
            {"linear.weight": model.classifier.weight, "linear.bias": model.classifier.bias},
            _dense(1, "linear.Identity", bias=True),
        ),
    ):
        path = folder / f"{len(modules)}_{kind.rpartition('.')[2]}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        if "norm" in str(weights and list(weights)):
            weights = {**weights, "norm.bias": 0 * model.head.norm.weight + 0.25}
        if weights:
            save_file({name: weight.detach().clone() for name, weight in weights.items()}, path / "model.safetensors")
        (path / "config.json").write_text(json.dumps(config))
        modules.append((kind, path.name))
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.{kind}"}
        for place, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))


def _dense(outputs: int, activation: str, *, bias: bool) -> dict[str, object]:
    hidden = SHAPE["hidden_size"]
    return {
        "in_features": hidden, "out_features": outputs, "bias": bias, "activation_function": f"torch.nn.modules.{activation}",
    }  # fmt: skip
