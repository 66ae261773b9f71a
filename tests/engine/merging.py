"""Measure whether merging the pairs of waiting requests into one batch would save a worker time (docs/decisions/0004).

    python -m tests.engine.merging                 the default model, one thread
    python -m tests.engine.merging --model FOLDER --rounds 5

Six small requests of different queries wait. They are scored one after the other; and merged, as a worker does with requests of one document: the pairs of
all in token-budget batches, longest first, behind the head that every prompt begins with, each row carrying its own query.
Rounds take turns, the least processor time of each way counts. Prints a line for each number of documents.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimrank import settings as process_settings
from slimrank import store
from slimrank.bench.load import WORDS
from slimrank.engine.session import OrtScorer

REQUESTS = 6
QUERY_WORDS = 10
DOCUMENT_WORDS = 45
SPREAD = 0.4
"""A document's length is up to so much more or less."""

Request = tuple[list[int], list[list[int]]]
"""The tokens of the prompt up to the document, and of each document with what follows it."""


def main() -> None:
    """Print the processor time of both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="left out, the default model")
    parser.add_argument("--documents", default="1,2,3,5")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = store.model_folder(process_settings.load(model=options.model))
    scorer, chance = OrtScorer.load(folder, threads=1), random.Random(options.seed)
    for count in map(int, options.documents.split(",")):
        requests = [_request(scorer, chance, count) for _ in range(REQUESTS)]
        ways: dict[str, Callable[[], npt.NDArray[np.float32]]] = {
            "apart": lambda requests=requests: _apart(scorer, requests),  # type: ignore[misc]
            "merged": lambda requests=requests: _merged(scorer, requests),  # type: ignore[misc]
        }
        seconds = dict.fromkeys(ways, float("inf"))
        scores = {name: way() for name, way in ways.items()}
        for _ in range(options.rounds):
            for name, way in ways.items():
                seconds[name] = min(seconds[name], _seconds(way))
        figures = {"merged_over_apart": round(seconds["merged"] / seconds["apart"], 3)}
        figures |= {f"{name}_ms": round(1000 * value, 1) for name, value in seconds.items()}
        largest = float(np.abs(scores["merged"] - scores["apart"]).max())
        print(json.dumps({"documents": count} | figures | {"largest_difference": round(largest, 4)}), flush=True)


def _request(scorer: OrtScorer, chance: random.Random, count: int) -> Request:
    def text(words: int) -> str:
        return " ".join(chance.choices(WORDS, k=words))

    prefix = scorer.encoder.prefix_ids(text(QUERY_WORDS), None).ids
    documents = [text(round(DOCUMENT_WORDS * chance.uniform(1 - SPREAD, 1 + SPREAD))) for _ in range(count)]
    pieces = scorer.encoder.document_ids(documents, len(prefix))
    return prefix, [piece.ids + scorer.encoder.suffix_ids for piece in pieces]


def _apart(scorer: OrtScorer, requests: list[Request]) -> npt.NDArray[np.float32]:
    scorer._prefixes.clear()  # the queries are new; only the prompt's head is known
    return np.concatenate([scorer.score_rows(prefix, rows) for prefix, rows in requests])


def _merged(scorer: OrtScorer, requests: list[Request]) -> npt.NDArray[np.float32]:
    head = scorer.encoder.head_ids
    return scorer.score_rows(head, [prefix[len(head) :] + row for prefix, own in requests for row in own])


def _seconds(way: Callable[[], object]) -> float:
    begin = time.process_time()
    way()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
