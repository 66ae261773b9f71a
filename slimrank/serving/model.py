"""A loaded model: its scorer, its name and how its scores become probabilities.

What a worker and an embedded gateway both hold. It answers a ``Job`` with an ``Answer`` and knows
nothing of queues or HTTP.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from slimrank import manifest
from slimrank.scoring import Scorer
from slimrank.serving.backend import Answer, Job
from slimrank.serving.cascade import CascadeScorer
from slimrank.settings import Settings
from slimrank.store import model_folder


class DocumentCutter:
    """Cuts documents to a number of tokens that the caller chose, below the model's own limit.

    Args:
        tokenizer: The model's tokenizer; this object takes it over.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    def cut(self, documents: Sequence[str], max_tokens: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Return the documents, each at most ``max_tokens`` long, and which of them were cut."""
        encodings = self._tokenizer.encode_batch([_clean(text) for text in documents], add_special_tokens=False)
        kept, was_cut = [], np.zeros(len(documents), dtype=np.bool_)
        for place, (text, encoding) in enumerate(zip(documents, encodings, strict=True)):
            was_cut[place] = len(encoding.ids) > max_tokens
            kept.append(text[: encoding.offsets[max_tokens - 1][1]] if was_cut[place] else text)
        return kept, was_cut


class Model:
    """A scorer with the name and calibration it is served under.

    Args:
        cutter: Needed only for requests that ask for shorter documents than the model's limit.
    """

    def __init__(
        self,
        name: str,
        scorer: Scorer,
        *,
        scale: float = 1.0,
        offset: float = 0.0,
        fusion_weight: float = 0.0,
        cutter: DocumentCutter | None = None,
    ) -> None:
        self.name = name
        self.scale = scale
        self.offset = offset
        self.fusion_weight = fusion_weight
        self._scorer = scorer
        self._cutter = cutter

    @classmethod
    def load(cls, folder: Path, *, threads: int, batch_tokens: int) -> "Model":
        """Load a model folder that passed its checks.

        Raises:
            ManifestError: the folder may not be served.
        """
        from slimrank.serving.session import OrtScorer  # onnxruntime is not needed by a gateway without a model

        scorer = OrtScorer.load(folder, threads=threads, batch_tokens=batch_tokens)
        scorer.warm_up()
        return cls(
            scorer.manifest.name,
            scorer,
            scale=scorer.manifest.calibration.scale,
            offset=scorer.manifest.calibration.offset,
            fusion_weight=scorer.manifest.fusion.weight if scorer.manifest.fusion else 0.0,
            cutter=DocumentCutter(Tokenizer.from_file(str(folder / manifest.TOKENIZER_FILE))),
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Model":
        """Load the model that the settings name, behind a cheaper one where they name that too.

        Raises:
            ManifestError: a folder may not be served.
            ModelSourceError: the default model could not be made.
        """
        options = {"threads": settings.threads, "batch_tokens": settings.batch_tokens}
        model = cls.load(model_folder(settings), **options)
        if settings.cascade_model is not None:
            first = cls.load(settings.cascade_model, **options)
            model._scorer = CascadeScorer(first._scorer, model._scorer, keep=settings.cascade_keep)
        return model

    def score(self, job: Job) -> Answer:
        """Return the scores of a job's documents, in the order given."""
        documents, was_cut = job.request.documents, None
        if job.max_document_tokens is not None and self._cutter is not None:
            documents, was_cut = self._cutter.cut(documents, job.max_document_tokens)
        scored = self._scorer.score(job.request.query, documents, instruction=job.request.instruction)
        if was_cut is not None:
            scored = replace(scored, truncated=scored.truncated | was_cut)
        return Answer(scored, self.name, self.scale, self.offset, self.fusion_weight)


def _clean(text: str) -> str:
    """Replace lone surrogates, which no tokenizer accepts, by one character each."""
    return text.encode("utf-8", "replace").decode("utf-8")
