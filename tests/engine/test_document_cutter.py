"""A document that is cut to a number of tokens is cut where all of its text says, though little of it is tokenised."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer, models, pre_tokenizers, trainers

from slimrank.engine.model import DocumentCutter
from slimrank.prompt import MAX_CHARACTERS_PER_TOKEN
from tests.vocabularies import small_tokenizer

ORDINARY = "the query relevance judge answers whether the document " * 40
ODD = [
    "",
    "query",
    "query " * 30,
    "x" * 400,
    "y" * 60 + " query" * 40,
    "document" * 40,
    "query" + " " * 300 + "judge",
    "\n\n\t  " * 60,
    "世界" * 90,
    "query e\u0301 " * 50,
    "12345 " * 60,
    "\ud800 lone " * 40,
    ORDINARY,
]


def unsplit_tokenizer() -> Tokenizer:
    """Return one whose tokens may cross words, so that all of a text is one word to it."""
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.train_from_iterator([ORDINARY] * 5, trainer)
    return tokenizer


TOKENIZERS = {"words": small_tokenizer(), "no words": unsplit_tokenizer()}


def cut_by_all_of_it(tokenizer: Tokenizer, document: str, max_tokens: int) -> tuple[str, bool]:
    """Return what the first tokens of a document are, all of it that counts tokenised, and whether it is longer."""
    text = document[: max_tokens * MAX_CHARACTERS_PER_TOKEN].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    encoding = tokenizer.encode(text, add_special_tokens=False)
    if len(encoding.ids) <= max_tokens:
        return text, len(document) > len(text)
    return text[: encoding.offsets[max_tokens - 1][1]], True


@pytest.mark.parametrize("max_tokens", [1, 4, 17])
@pytest.mark.parametrize("words", TOKENIZERS)
def test_documents_are_cut_where_all_of_their_text_says(words: str, max_tokens: int) -> None:
    tokenizer = TOKENIZERS[words]
    texts, was_cut = DocumentCutter(tokenizer).cut(ODD, max_tokens)
    expected = [cut_by_all_of_it(tokenizer, document, max_tokens) for document in ODD]
    assert list(zip(texts, was_cut.tolist(), strict=True)) == expected


@settings(max_examples=200, deadline=None)
@given(document=st.text(alphabet="ab1. \n\u00e9\u4e16", max_size=120), max_tokens=st.integers(1, 6))
def test_no_text_is_cut_elsewhere(document: str, max_tokens: int) -> None:
    tokenizer = TOKENIZERS["words"]
    (text,), (was_cut,) = DocumentCutter(tokenizer).cut([document], max_tokens)
    assert (text, was_cut) == cut_by_all_of_it(tokenizer, document, max_tokens)


class CountingTokenizer:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.characters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[Encoding]:
        self.characters += sum(map(len, texts))
        return self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)


def test_little_of_ordinary_text_is_tokenised() -> None:
    counting = CountingTokenizer(TOKENIZERS["words"])
    DocumentCutter(counting).cut(["query 1 2 3 " * 200] * 3, 20)  # type: ignore[arg-type]
    assert 0 < counting.characters < 3 * 20 * MAX_CHARACTERS_PER_TOKEN / 3
