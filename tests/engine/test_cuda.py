"""On a real GPU, every precision made for it scores as float32 does on the CPU. Needs CUDA: `pytest -m gpu`."""

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from onnx_export.export import export
from onnx_export.fused import FusedPrecision
from onnx_export.verify import TOLERANCE, verify
from slimrank.engine.session import OrtScorer
from tests.tiny import DOCUMENTS, MAX_PAIR_TOKENS, make_checkpoint

QUERIES = ["which moon is the largest", "how does git forget a commit, and can it be had back"]
MANY = [f"{document} {number}" for number in range(6) for document in DOCUMENTS]
PROVIDER = os.environ.get("SLIMRANK_TEST_PROVIDER", "cuda")
"""Another only tries these tests themselves."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        PROVIDER == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers(),
        reason="no CUDA provider: install the extra `gpu` on a machine with a GPU",
    ),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random Qwen2 with heads of 64, as the real ones have."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "wide", "qwen2", hidden_size=256, head_size=64)


@pytest.fixture(scope="module")
def reference(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[float]]:
    """Return the scores of float32 on the CPU."""
    folder = tmp_path_factory.mktemp("models") / "fp32-cpu"
    export(checkpoint, folder, lambda *_: None, max_pair_tokens=MAX_PAIR_TOKENS)
    verify(folder, lambda *_: None)
    scorer = OrtScorer.load(folder, threads=1, batch_tokens=1024)
    return [scorer.score(query, MANY).scores.tolist() for query in QUERIES]


@pytest.fixture(scope="module", params=["fp32", "fp16", "bf16", "int8-gpu"])
def folder(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder that was verified on the GPU."""
    precision: FusedPrecision = request.param
    if PROVIDER == "cpu" and precision == "bf16":
        pytest.skip("a CPU runs no bf16")
    made = tmp_path_factory.mktemp("models") / precision
    export(checkpoint, made, lambda *_: None, precision=precision, max_pair_tokens=MAX_PAIR_TOKENS)
    verify(made, lambda *_: None, provider=PROVIDER)
    return made


@pytest.fixture(scope="module")
def scorer(folder: Path) -> OrtScorer:
    return OrtScorer.load(folder, batch_tokens=4096, provider=PROVIDER)


def test_scores_are_those_of_float32_on_the_cpu(scorer: OrtScorer, reference: list[list[float]]) -> None:
    for query, expected in zip(QUERIES, reference, strict=True):
        found = scorer.score(query, MANY).scores
        print(scorer.manifest.precision, "largest difference", np.abs(found - expected).max(), "spread", np.std(expected))
        assert found == pytest.approx(expected, abs=TOLERANCE[scorer.manifest.precision])


def test_scores_hardly_move_with_their_neighbours_and_not_at_all_when_asked_again(scorer: OrtScorer) -> None:
    together = scorer.score(QUERIES[0], MANY).scores
    assert scorer.score(QUERIES[0], MANY).scores.tolist() == together.tolist()
    alone = [float(scorer.score(QUERIES[0], [document]).scores[0]) for document in MANY]
    reversed_order = scorer.score(QUERIES[0], MANY[::-1]).scores[::-1]
    worst = max(np.abs(together - alone).max(), np.abs(together - reversed_order).max())
    print(scorer.manifest.precision, "largest move with neighbours", worst)
    assert worst <= TOLERANCE[scorer.manifest.precision]


def test_pairs_of_many_queries_share_runs(scorer: OrtScorer) -> None:
    pairs = [(query, document) for document in DOCUMENTS for query in (*QUERIES, document[:20])]
    found = [float(scored.scores[0]) for scored in scorer.score_pairs(pairs)]
    single = [float(scorer.score(query, [document]).scores[0]) for query, document in pairs]
    assert found == pytest.approx(single, abs=TOLERANCE[scorer.manifest.precision])


def test_recorded_runs_give_the_same_scores(folder: Path, scorer: OrtScorer) -> None:
    if scorer.manifest.precision == "fp32" or PROVIDER == "cpu":
        pytest.skip("nothing to record")
    recorded = OrtScorer.load(folder, batch_tokens=4096, provider=PROVIDER, cuda_graphs=True)
    for _ in range(3):  # recorded, then played back with other content
        for query in QUERIES:
            for documents in (MANY, MANY[:7], MANY[::-1]):
                expected = scorer.score(query, documents).scores
                assert recorded.score(query, documents).scores == pytest.approx(
                    expected, abs=TOLERANCE[scorer.manifest.precision]
                )


def test_warm_up_fits_a_budget(folder: Path) -> None:
    scorer = OrtScorer.load(folder, provider=PROVIDER)
    scorer.warm_up()
    print(scorer.manifest.precision, "batch_tokens", scorer._batch_tokens)
    assert np.isfinite(scorer.score(QUERIES[0], MANY).scores).all()
