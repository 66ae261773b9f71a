"""Tokenizers for tests: Qwen's, rebuilt from its byte-pair ranks; and a small one trained on the spot."""

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CHAT_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SMALL_TEXTS = ("query document relevance judge whether the document answers the query",)
QWEN_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def qwen_tokenizer(ranks_file: Path) -> Tokenizer:
    """Return Qwen2's tokenizer: NFC, its split pattern, byte-level BPE with these ranks."""
    return Tokenizer.from_str(_qwen_json(ranks_file))


@cache
def _qwen_json(ranks_file: Path) -> str:
    ranks = {
        base64.b64decode(token): int(rank) for token, rank in (line.split() for line in ranks_file.read_bytes().splitlines())
    }
    letters = _byte_letters()

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    # Every way to make a token of two that came before it, in the order in which the tokens were made.
    merges = [
        (left, right)
        for token, rank in ranks.items()
        for _, left, right in sorted(
            (max(ranks[token[:i]], ranks[token[i:]]), token[:i], token[i:])
            for i in range(1, len(token))
            if ranks.get(token[:i], rank) < rank and ranks.get(token[i:], rank) < rank
        )
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={spell(token): rank for token, rank in ranks.items()},
            merges=[(spell(left), spell(right)) for left, right in merges],
        )
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CHAT_TOKENS])
    return tokenizer.to_str()


def _byte_letters() -> dict[int, str]:
    """Return GPT-2's printable letter for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


def small_tokenizer(texts: Sequence[str] = SMALL_TEXTS, size: int = 512) -> Tokenizer:
    """Return a byte-level BPE of some hundred tokens, trained on these texts, in which every digit is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=CHAT_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*texts] * 20, trainer)
    return tokenizer
