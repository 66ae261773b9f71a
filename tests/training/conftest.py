"""A tiny random model with a tokenizer of some hundred tokens, and groups to train it on."""

import random
from pathlib import Path

import pytest

from tests.vocabularies import small_tokenizer
from training.data import Group, write_groups

WORDS = ["spoon", "fork", "knife", "plate", "river", "stone", "cloud", "rain", "piano", "drum", "violin", "flute"]


def make_base(folder: Path, architecture: str = "llama") -> Path:
    """Write a random model of two layers and its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = small_tokenizer()
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.2,  # enough for two random layers to tell words apart
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.save_pretrained(folder)
    return folder


def make_groups(count: int, *, teacher: bool = True) -> list[Group]:
    """Return groups in which the document that holds the query's word is relevant."""
    rng = random.Random(0)
    groups = []
    for number in range(count):
        words = rng.sample(WORDS, 4)
        relevance = tuple(int(word == words[0]) for word in words)
        groups.append(
            Group(
                source="words",
                query_id=str(number),
                query=words[0],
                doc_ids=tuple(words),
                documents=tuple(f"a {word}" for word in words),
                relevance=relevance,
                teacher=tuple(0.7 if grade else 0.5 for grade in relevance) if teacher else (),
            )
        )
    return groups


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def groups_file(tmp_path: Path) -> Path:
    path = tmp_path / "groups.jsonl"
    write_groups(path, make_groups(24))
    return path
