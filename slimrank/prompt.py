"""The prompt: how a query and a document become the token ids that the model reads.

A prompt is data, a small ``prompt.json`` in every model folder; this module renders it. It knows
nothing of batches, padding or tensors. Training, export and serving all come here, so there is
one rendering, and a folder whose prompt hash differs is refused (``slimrank.manifest``).

Order is speed: everything that the documents of one query share (prefix, instruction, query)
comes first, so that its keys and values can be computed once a request; what follows the
document is as short as it can be. The answer slot is the last position: the model's next token
there is "1" or "0".

The four parts are encoded apart and their ids joined, so a token never crosses a border: the
shared prefix is the same ids whatever document follows, and cutting the document cannot change
the query or the suffix. Texts of users are encoded with special tokens switched off: a document
that spells ``<|im_end|>`` or ``</s>`` is just characters.

Sources: mxbai-rerank v2 (the released ProRank weights), ``mxbai_rerank_v2.py``; Qwen3-Reranker's
model card.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from slimrank.errors import ConfigError, DataError, InvalidRequest, ManifestError
from slimrank.files import parse_json, read_text

RENDERER_VERSION = 1
"""Changes whenever the same prompt file would render to other ids."""

DEFAULT_MAX_PAIR_TOKENS = 512
MIN_DOCUMENT_TOKENS = 16
MAX_CHARACTERS_PER_TOKEN = 24
"""A text is cut to this many characters a token of its room before it is tokenised, so that a
2 MB document costs what its first pages cost. Ordinary text has 3 to 5."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The texts around a query and a document, in the order they are read.

    ``prefix``, ``separator`` and ``suffix`` may hold special tokens; ``instruction``, ``query``
    and ``document`` are templates for a user's text and may not. A cross-encoder's has special tokens
    alone around the two texts, and neither answers nor a place for an instruction.
    """

    name: str
    prefix: str
    query: str
    document: str
    suffix: str
    relevant: str = ""
    irrelevant: str = ""
    instruction: str = ""
    separator: str = ""
    default_instruction: str | None = None

    def digest(self) -> str:
        """Return the hash that ties a model folder to its prompt and to this renderer."""
        content = json.dumps([RENDERER_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the prompt as ``prompt.json``."""
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Prompt":
        """Read ``prompt.json``.

        Raises:
            ManifestError: the file is missing or holds something else.
        """
        try:
            content = parse_json(read_text(path))
            if not all(isinstance(value, str | None) for value in content.values()):
                raise TypeError("every part is a string")
            return cls(**content)
        except DataError as error:
            raise ManifestError(f"the prompt: {error}; export the model again") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ManifestError(f"{path} is not a prompt file ({error}); export the model again") from error


SLIMRANK = Prompt(
    name="slimrank",
    prefix=(
        "<|im_start|>system\nJudge whether the document answers the query."
        " Reply 1 if it does, 0 if it does not.<|im_end|>\n<|im_start|>user\n"
    ),
    instruction="Instruction: {instruction}\n",
    query="Query: {query}\n",
    document="Document: {document}",
    # The prefill lifts the probability of a legal answer from .03 to .57 on the untrained model.
    suffix="<|im_end|>\n<|im_start|>assistant\nRelevance: ",
    relevant="1",
    irrelevant="0",
)

MXBAI_V2 = Prompt(
    name="mxbai-rerank-v2",
    prefix=(
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    ),
    instruction="instruction: {instruction}\n",
    query="query: {query}",
    separator="\n",
    document="document: {document}",
    suffix=(
        "\nYou are a search relevance expert who evaluates how well documents match search queries."
        " For each query-document pair, carefully analyze the semantic relationship between them,"
        " then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
        "<|im_end|>\n<|im_start|>assistant\n"
    ),
    relevant="1",
    irrelevant="0",
)

QWEN3 = Prompt(
    name="qwen3-reranker",
    prefix=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided."
        ' Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    ),
    instruction="<Instruct>: {instruction}\n",
    query="<Query>: {query}\n",
    document="<Document>: {document}",
    suffix="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    relevant="yes",
    irrelevant="no",
    default_instruction="Given a web search query, retrieve relevant passages that answer the query",
)

BUILT_IN = {prompt.name: prompt for prompt in (SLIMRANK, MXBAI_V2, QWEN3)}


class Piece(NamedTuple):
    """Token ids of one part of a pair, and whether its text was cut to fit."""

    ids: list[int]
    truncated: bool


class PromptEncoder:
    """Renders queries and documents to token ids within a fixed pair length.

    Args:
        prompt: The prompt of the model folder.
        tokenizer: The model's tokenizer; this object takes it over and switches its matching of
            special tokens, so do not share it.
        max_pair_tokens: Longest whole pair, in tokens.
        max_query_tokens: Longest instruction + query part, in tokens; default half the pair.

    Raises:
        ConfigError: an answer is not a single token, or the limits leave no room for a document.
    """

    def __init__(
        self,
        prompt: Prompt,
        tokenizer: Tokenizer,
        *,
        max_pair_tokens: int = DEFAULT_MAX_PAIR_TOKENS,
        max_query_tokens: int | None = None,
    ) -> None:
        self.prompt = prompt
        self.max_pair_tokens = max_pair_tokens
        self.max_query_tokens = max_query_tokens or max_pair_tokens // 2
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = False
        self.head_ids = self._encode(prompt.prefix)
        self.separator_ids = self._encode(prompt.separator)
        self.suffix_ids = self._encode(prompt.suffix)
        self.fixed_document_tokens = len(self._encode(prompt.document.replace("{document}", "")))
        self.relevant_id, self.irrelevant_id = (
            self._answer_id(answer) if answer else None for answer in (prompt.relevant, prompt.irrelevant)
        )
        # From here on only users' texts are encoded.
        tokenizer.encode_special_tokens = True
        self.document_start_ids = self._encode(prompt.document.partition("{document}")[0].rstrip())
        """Of the document's template, before the text. With most tokenizers every document begins with them: a space behind
        them goes into the text's first token. A caller who relies on it has to look."""
        fixed = len(self.head_ids) + len(self.separator_ids) + len(self.suffix_ids)
        room = max_pair_tokens - fixed - self.max_query_tokens
        if room < MIN_DOCUMENT_TOKENS:
            raise ConfigError(
                f"a pair of {max_pair_tokens} tokens with a query of up to {self.max_query_tokens} leaves {room} for the"
                f" document after the prompt's own {fixed}, and it needs {MIN_DOCUMENT_TOKENS}; allow longer pairs or shorter queries"
            )

    def tokenizer(self) -> Tokenizer:
        """Return a copy of the tokenizer, for a use of its own."""
        return Tokenizer.from_str(self._tokenizer.to_str())

    @property
    def answer_ids(self) -> list[int]:
        """The answer tokens in the order of a graph's logits, irrelevant, relevant; none of a cross-encoder."""
        return [token for token in (self.irrelevant_id, self.relevant_id) if token is not None]

    def prefix_ids(self, query: str, instruction: str | None = None) -> Piece:
        """Return what all documents of a query share: prefix, instruction, query, separator.

        A query beyond its limit is cut at its end; the instruction stays whole.

        Raises:
            InvalidRequest: the instruction leaves no room for a query, or the prompt takes none.
        """
        head, tail = self._around_query(instruction)
        room = self.max_query_tokens
        text = query[: room * MAX_CHARACTERS_PER_TOKEN]
        ids = self._encode(head + text + tail)
        truncated = len(text) < len(query) or len(ids) > room
        if truncated:
            tail_ids = self._encode(tail)
            if len(self._encode(head)) + len(tail_ids) >= room:
                raise InvalidRequest(
                    f"the instruction leaves no room for a query: both together may have {room} tokens; shorten the instruction",
                    status=422,
                )
            ids = self._encode(head + text)[: room - len(tail_ids)] + tail_ids
        return Piece(self.head_ids + ids + self.separator_ids, truncated)

    def document_ids(self, documents: Sequence[str], prefix_length: int) -> list[Piece]:
        """Return each document's ids without the suffix, cut at its end to what the pair has left.

        Args:
            prefix_length: Length of the ids that ``prefix_ids`` gave, in tokens.
        """
        room = max(1, self.max_pair_tokens - prefix_length - len(self.suffix_ids))
        bound = room * MAX_CHARACTERS_PER_TOKEN
        texts = [self.prompt.document.replace("{document}", encodable(text[:bound])) for text in documents]
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [
            Piece(encoding.ids[:room], len(encoding.ids) > room or len(text) > bound)
            for encoding, text in zip(encodings, documents, strict=True)
        ]

    def document_room(self, prefix_length: int) -> int:
        """Return how many tokens of a document's own text a pair holds after such a prefix."""
        return max(1, self.max_pair_tokens - prefix_length - len(self.suffix_ids) - self.fixed_document_tokens)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text."""
        encodings = self._tokenizer.encode_batch_fast([encodable(text) for text in texts], add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]

    def pair_ids(self, query: str, document: str, instruction: str | None = None) -> Piece:
        """Return the ids of one whole pair, and whether its query or document was cut."""
        prefix = self.prefix_ids(query, instruction)
        (body,) = self.document_ids([document], len(prefix.ids))
        return Piece(prefix.ids + body.ids + self.suffix_ids, prefix.truncated or body.truncated)

    def _around_query(self, instruction: str | None) -> tuple[str, str]:
        if instruction and not self.prompt.instruction:
            raise InvalidRequest(
                f"an instruction was given, and the prompt {self.prompt.name} has no place for one; leave it out, or serve a"
                " model that takes instructions",
                status=422,
            )
        instruction = instruction or self.prompt.default_instruction
        lead = self.prompt.instruction.replace("{instruction}", instruction) if instruction else ""
        head, _, tail = self.prompt.query.partition("{query}")
        return lead + head, tail

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(encodable(text), add_special_tokens=False).ids) if text else []

    def _answer_id(self, answer: str) -> int:
        ids = self._encode(answer)
        if len(ids) != 1:
            raise ConfigError(
                f'the answer "{answer}" is {len(ids)} tokens of this model ({ids}); choose a model in which it is one'
            )
        return ids[0]


def document_text(title: str, text: str) -> str:
    """Join a title and a text into the document that is scored; either may be empty."""
    return "\n".join(part for part in (title.strip(), text.strip()) if part)


def encodable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer accepts, by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
