"""The embedded first stage: BM25 over documents in memory, by bm25s.

It stands in for a search engine where there is none (demo, evaluation, mining of negatives).
Setting, so that figures compare: Lucene's BM25, k1 = 0.9, b = 0.4, English stop words, Snowball
stemmer, title and text as one field.
"""

from collections.abc import Mapping

import bm25s
import numpy as np
import Stemmer

from slimrank.errors import DataError

K1, B = 0.9, 0.4
FIRST_STAGE = "bm25"
"""Its name in a manifest whose fusion was fitted on it."""


class BM25:
    """A BM25 index over ``{doc_id: text}``.

    Raises:
        DataError: there is nothing to index.
    """

    def __init__(self, documents: Mapping[str, str]) -> None:
        if not documents:
            raise DataError("there are no documents to index")
        self._doc_ids = list(documents)
        self._stemmer = Stemmer.Stemmer("english")
        self._index = bm25s.BM25(method="lucene", k1=K1, b=B)
        tokens = self._tokens(list(documents.values()))
        if not any(len(ids) for ids in tokens.ids):
            raise DataError(f"the {len(documents)} documents hold no word to search by; is their text in `title` and `text`?")
        self._index.index(tokens, show_progress=False)

    def search(self, query: str, depth: int) -> dict[str, float]:
        """Return up to ``depth`` documents that share a term with the query, best first.

        Ties keep the order of the documents.
        """
        tokens = bm25s.tokenize([query], stopwords="en", stemmer=self._stemmer, return_ids=False, show_progress=False)[0]
        known = [token for token in tokens if token in self._index.vocab_dict]
        if not known:
            return {}
        scores = self._index.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:depth]
        return {self._doc_ids[i]: float(scores[i]) for i in best if scores[i] > 0}

    def _tokens(self, texts: list[str]) -> "bm25s.tokenization.Tokenized":
        return bm25s.tokenize(texts, stopwords="en", stemmer=self._stemmer, show_progress=False)
