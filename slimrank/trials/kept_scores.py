"""Scores that are kept by what was read: a query and the part of a document, whatever cut, window or depth it came from.

So a text that comes out alike under two cuts is scored once, the first 10 hits are not scored again for the first 30, and a run that
is stopped goes on where it was. A file holds the scores of one model and one collection.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from slimrank.evaluation.evaluate import ScoreFile
from slimrank.scoring import Scorer

NAME_CHARACTERS = 20
"""The hexadecimal digits of a hash; 80 bits tell the texts of any collection apart."""


class KeptScores:
    """The scores of one model for the texts of one collection.

    Raises:
        DataError: the file holds another model's scores, or another process writes it.
    """

    def __init__(self, path: Path, model_id: Mapping[str, str]) -> None:
        self._file = ScoreFile(path, {"model": dict(model_id)})

    def of(self, query_id: str, query: str, texts: Sequence[str], scorer: Scorer) -> list[float]:
        """Return the score of each text, in the order given; those that have none yet are scored now.

        Raises:
            ScoringError: the model failed.
        """
        names = [name_of(query, text) for text in texts]
        known = self._file.scores.get(query_id, {})
        missing = {name: text for name, text in zip(names, texts, strict=True) if name not in known}
        if missing:
            scored = scorer.score(query, list(missing.values()))
            known = known | dict(zip(missing, scored.scores.tolist(), strict=True))
            self._file.add(query_id, known)
        return [known[name] for name in names]


def name_of(query: str, text: str) -> str:
    """Return the key of a query and a text in the file."""
    return sha256(f"{query}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:NAME_CHARACTERS]
