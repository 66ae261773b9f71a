"""A GGUF file is read once, and gives the same checkpoint as transformers makes from it."""

import time
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from onnx_export import source
from onnx_export.checkpoint import load, quiet
from onnx_export.gguf_file import read_gguf

HIDDEN, HEADS, KEY_HEADS, WIDE, LAYERS = 64, 4, 2, 96, 2
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789.,?:", "Ġ", "Ċ"]
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *LETTERS, "Ġt", "he", "Ġthe"]
MERGES = ["Ġ t", "h e", "Ġt he"]
TEXT = "find the names in the folder\n1 or 0?"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file as llama.cpp writes it: Q4_1 products, float32 norms, a byte-level vocabulary."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    writer.add_chat_template("{{ messages }}")
    for name, shape in weights():
        drawn = np.random.default_rng(len(name)).normal(0, 0.2, shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, drawn)
        else:
            packed = gguf.quants.quantize(drawn, gguf.GGMLQuantizationType.Q4_1)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def weights() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (len(TOKENS), HIDDEN)
    yield "output_norm.weight", (HIDDEN,)
    keys = HIDDEN // HEADS * KEY_HEADS
    for layer in range(LAYERS):
        for name, shape in {
            "attn_norm": (HIDDEN,), "attn_q": (HIDDEN, HIDDEN), "attn_k": (keys, HIDDEN), "attn_v": (keys, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN), "ffn_norm": (HIDDEN,), "ffn_gate": (WIDE, HIDDEN), "ffn_up": (WIDE, HIDDEN),
            "ffn_down": (HIDDEN, WIDE),
        }.items():  # fmt: skip
            yield f"blk.{layer}.{name}.weight", shape


def test_the_checkpoint_has_the_weights_and_the_tokens_that_transformers_reads(
    file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source._convert_gguf(file, tmp_path)
    assert capfd.readouterr() == ("", "")
    made = load(tmp_path)
    with quiet():
        theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).state_dict()
        tokens = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    capfd.readouterr()
    ours = made.model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    assert made.tokenizer.encode(TEXT).ids == tokens(TEXT, add_special_tokens=False)["input_ids"]
    assert made.model.config.rope_theta == 100000.0


def test_a_large_vocabulary_is_read_in_less_than_two_seconds(tmp_path: Path) -> None:
    path = tmp_path / "words.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_token_list([f"word{place}" for place in range(50_000)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    began = time.process_time()
    values, _ = read_gguf(path)
    taken = time.process_time() - began
    assert values["tokenizer.ggml.tokens"][49_999] == "word49999"
    assert taken < 2  # gguf's own reader takes four times as long, and transformers reads four times


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04" + b"\x00" * 40], ids=["empty", "cut short", "a zip file"])
def test_an_incomplete_gguf_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.gguf is n"):
        read_gguf(path)
