"""PyTerrier: a transformer, so that PyTerrier experiments can measure slimrank.

    from connector.frameworks.pyterrier import SlimrankTransformer

    pipeline = bm25 % 100 >> pt.text.get_text(dataset, "text") >> SlimrankTransformer("http://localhost:8080")
    pt.Experiment([bm25, pipeline], topics, qrels, ["ndcg_cut_10"], baseline=0)

The transformer itself needs no Java. Ranks count from 0, as everywhere in PyTerrier.
"""

import pandas as pd
import pyterrier as pt

from connector.frameworks.ranking import AnyScorer, OnFailure, place
from slimrank.errors import InvalidRequest


class SlimrankTransformer(pt.Transformer):
    """Gives every (query, document) row a new score and rank.

    Args:
        scorer: A gateway's URL, a loaded ``slimrank.Reranker``, or a ``Scorer``.
        text_field: The column that holds the document.
        instruction: How to judge, such as "prefer recent manuals".
        on_failure: With "keep_order", a failure of the scorer gives the rows of the query scores that keep their order.
        first_stage_order: Whether the column ``rank``, if present, is a retriever's; then the model may use it as a prior.
    """

    def __init__(
        self,
        scorer: AnyScorer,
        *,
        text_field: str = "text",
        instruction: str | None = None,
        on_failure: OnFailure = "raise",
        first_stage_order: bool = True,
    ) -> None:
        self.scorer, self.text_field = scorer, text_field
        self.instruction, self.on_failure, self.first_stage_order = instruction, on_failure, first_stage_order

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with new ``score`` and ``rank``, best first within each query.

        Args:
            inp: The columns qid, query, docno and the text. The rows of a query are in first-stage order, or have a ``rank``.

        Raises:
            InvalidRequest: a column is missing.
            SlimrankError: the scorer failed, with on_failure="raise".
        """
        missing = [name for name in ("qid", "query", "docno", self.text_field) if name not in inp.columns]
        if missing:
            raise InvalidRequest(f"the frame has no column {', '.join(missing)}; put pt.text.get_text() before this transformer")
        parts = [self._rank(part) for _, part in inp.groupby("qid", sort=False)]
        return (
            pd.concat(parts, ignore_index=True) if parts else inp.assign(score=pd.Series(dtype=float), rank=pd.Series(dtype=int))
        )

    def _rank(self, part: pd.DataFrame) -> pd.DataFrame:
        is_ranked = "rank" in part.columns  # rows without a rank are pairs to score, in no order
        if is_ranked:
            part = part.sort_values("rank", kind="stable")
        texts = [str(text) for text in part[self.text_field]]
        placed = place(
            self.scorer, part["query"].iloc[0], texts, instruction=self.instruction, on_failure=self.on_failure,
            first_stage_order=is_ranked and self.first_stage_order,
        )  # fmt: skip
        ranked = part.iloc[[each.index for each in placed]]
        scores = [-float(number) if each.score is None else each.score for number, each in enumerate(placed)]
        return ranked.assign(score=scores, rank=range(len(placed)))
