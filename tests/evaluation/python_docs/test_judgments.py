"""The demo's questions are many, each has a right answer, and the answers exist on every supported Python.

Judged ids are looked for in the running interpreter, and in every other supported one this machine has. For one it
has not, `checked.jsonl` must tell that these same ids were found there; after the judgments change, add a line:

    python3.14 -m slimrank.evaluation.python_docs.corpus --check >> tests/evaluation/python_docs/checked.jsonl
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from slimrank.bm25 import BM25
from slimrank.evaluation import measures
from slimrank.evaluation.beir import Collection
from slimrank.evaluation.python_docs import corpus

ROOT = Path(__file__).parents[3]
CHECKED = Path(__file__).parent / "checked.jsonl"


def test_there_are_at_least_sixty_questions_each_once() -> None:
    queries = [json.loads(line) for line in corpus.QUERIES.read_text(encoding="utf-8").splitlines()]

    assert len(queries) >= 60
    for key in ("_id", "text"):
        assert max(Counter(query[key] for query in queries).values()) == 1


def test_no_document_is_judged_twice_for_a_question_and_grades_are_0_1_or_2() -> None:
    header, *rows = [line.split("\t") for line in corpus.QRELS.read_text(encoding="utf-8").splitlines()]

    assert header == ["query-id", "corpus-id", "score"]
    assert max(Counter((query_id, doc_id) for query_id, doc_id, _ in rows).values()) == 1
    assert {grade for *_, grade in rows} == {"0", "1", "2"}


def test_every_question_has_a_document_that_answers_it_exactly(collection: Collection) -> None:
    queries = {json.loads(line)["_id"] for line in corpus.QUERIES.read_text(encoding="utf-8").splitlines()}

    assert collection.qrels.keys() == queries
    assert not [query_id for query_id, judged in collection.qrels.items() if max(judged.values()) < 2]


def test_every_judged_document_is_in_the_corpus_of_this_interpreter(collection: Collection) -> None:
    assert not set(corpus.judged_ids()) - collection.documents.keys()


@pytest.mark.parametrize("minor", sorted({11, 12, 13, 14} - {sys.version_info.minor}))
def test_every_judged_document_is_in_the_corpus_of_every_other_supported_python(minor: int) -> None:
    interpreter = _interpreter(minor)
    if interpreter is None:
        found = _recorded(minor)
        assert found["digest"] == corpus.digest(corpus.judged_ids()), (
            f"the judgments changed since Python {found['python']} was checked, and this machine has no Python 3.{minor}: "
            f"run `python3.{minor} -m slimrank.evaluation.python_docs.corpus --check >> {CHECKED.relative_to(ROOT)}` where there is one"
        )
    else:
        command = [interpreter, "-m", "slimrank.evaluation.python_docs.corpus", "--check"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.stdout, run.stderr
        found = json.loads(run.stdout)
    assert found["python"].startswith(f"3.{minor}.")
    assert found["missing"] == []


def test_first_stage_finds_an_exact_answer_for_most_questions_but_seldom_ranks_it_first(collection: Collection) -> None:
    first_stage = BM25({doc_id: document.content for doc_id, document in collection.documents.items()})
    run = {query_id: first_stage.search(text, 100) for query_id, text in collection.queries.items()}

    answered = [any(collection.qrels[query_id].get(doc_id) == 2 for doc_id in found) for query_id, found in run.items()]
    figures = measures.mean(collection.qrels, run)
    assert sum(answered) / len(answered) > 0.85
    assert 0.3 < figures["nDCG@10"] < 0.6


def _interpreter(minor: int) -> str | None:
    """Find a Python 3.minor that runs, on PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python3.{minor}"), *sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python3"))]
    for candidate in filter(None, candidates):
        # pyenv's shim is on PATH for versions that are not switched on, and then fails
        if subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None


def _recorded(minor: int) -> dict[str, str]:
    """Return the last check recorded for Python 3.minor."""
    records = [json.loads(line) for line in CHECKED.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["python"].startswith(f"3.{minor}.")][-1]
