"""What stays on the device changes no score. A GPU's part is played by the CPU, which binds but cannot record."""

from pathlib import Path

import numpy as np
import pytest

from onnx_export.export import export
from onnx_export.fused import FusedPrecision
from onnx_export.verify import verify
from slimrank import graph_io
from slimrank.engine import device
from slimrank.engine.device import DeviceRun, OnDevice
from slimrank.engine.session import OrtScorer
from slimrank.errors import ConfigError
from tests.tiny import DOCUMENTS, MAX_PAIR_TOKENS

QUERIES = ["which moon is the largest", "how does git forget a commit, and can it be had back"]


def on_device(scorer: OrtScorer, *, records: bool = False) -> OrtScorer:
    run = DeviceRun(scorer._session, "cpu", records=records)
    return OrtScorer(scorer._session, scorer.manifest, scorer.encoder, batch_tokens=512, device_run=run)


@pytest.fixture(scope="module")
def in_half(tiny_qwen_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verified(tiny_qwen_checkpoint, tmp_path_factory.mktemp("models") / "half", "fp16")


@pytest.fixture(scope="module")
def in_8_bits(tiny_qwen_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verified(tiny_qwen_checkpoint, tmp_path_factory.mktemp("models") / "eight", "int8-gpu")


def verified(checkpoint: Path, folder: Path, precision: FusedPrecision) -> Path:
    export(checkpoint, folder, lambda *_: None, precision=precision, max_pair_tokens=MAX_PAIR_TOKENS)
    verify(folder, lambda *_: None)
    return folder


@pytest.fixture(scope="module", params=["tiny_model", "in_half", "in_8_bits"])
def scorer(request: pytest.FixtureRequest) -> OrtScorer:
    return OrtScorer.load(request.getfixturevalue(request.param), threads=1, batch_tokens=512)


def test_half_precision_is_verified_within_its_tolerance_and_shares_prefixes(in_half: Path) -> None:
    found = OrtScorer.load(in_half, threads=1)  # refuses what was not verified
    assert found.manifest.precision == "fp16"
    names = [given.name for given in found._session.get_inputs()]
    assert graph_io.FIRST_POSITION in names


def test_binding_gives_the_same_scores_and_keeps_keys_and_values_where_they_are(scorer: OrtScorer) -> None:
    bound = on_device(scorer)
    for query in QUERIES:
        assert bound.score(query, DOCUMENTS).scores.tolist() == scorer.score(query, DOCUMENTS).scores.tolist()
    assert len(bound._prefixes) == len(QUERIES)
    assert all(isinstance(shared, OnDevice) for shared in bound._prefixes.values())
    arrays = [scorer._graph.share(list(key)) for key in bound._prefixes]
    assert [(one.shape, one.nbytes) for one in bound._prefixes.values()] == [(one.shape, one.nbytes) for one in arrays]


def test_shapes_that_repeat_give_the_same_scores_in_few_shapes(scorer: OrtScorer) -> None:
    recorded = on_device(scorer, records=True)
    assert recorded._device_run is not None
    tolerance = 1e-4 if scorer.manifest.precision == "fp32" else 0.05
    for documents in (DOCUMENTS, DOCUMENTS[:3], [f"{document} And more." for document in DOCUMENTS]):
        for query in QUERIES:
            expected = scorer.score(query, documents).scores
            assert recorded.score(query, documents).scores == pytest.approx(expected, abs=tolerance)
    shapes = [ids for ids, _ in recorded._device_run._shapes]
    assert len(shapes) == len(set(shapes)), "one prefix, the prompt's head"
    assert all(length % 64 == 0 and rows & (rows - 1) == 0 for rows, length in shapes)
    longest = ["Relevance is judged by people, one query at a time. " * 80]
    if scorer.manifest.precision in graph_io.FOR_GPU:  # whose padding has positions, however long the pair
        assert recorded.score(QUERIES[0], longest).scores == pytest.approx(
            scorer.score(QUERIES[0], longest).scores, abs=tolerance
        )
    before = len(recorded._device_run._shapes)
    recorded.score(QUERIES[1], DOCUMENTS)
    assert len(recorded._device_run._shapes) == before


def test_beyond_the_most_graphs_shapes_run_unrecorded(scorer: OrtScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "MOST_GRAPHS", 1)
    recorded = on_device(scorer, records=True)
    assert recorded._device_run is not None
    expected = scorer.score(QUERIES[0], DOCUMENTS).scores
    assert recorded.score(QUERIES[0], DOCUMENTS).scores == pytest.approx(expected, abs=0.05)
    assert len(recorded._device_run._shapes) == 1


def test_rows_behind_another_head_are_scored_whole(scorer: OrtScorer) -> None:
    recorded = on_device(scorer, records=True)
    rows = [[5, 6, 7, 8], [9, 10, 11]]
    assert recorded.score_rows([3, 4], rows) == pytest.approx(scorer.score_rows([3, 4], rows), abs=0.05)
    assert np.isfinite(recorded.score(QUERIES[0], [""]).scores).all()


def test_cuda_graphs_are_refused_where_there_is_no_cuda_and_in_another_precision(tiny_model: Path, in_half: Path) -> None:
    with pytest.raises(ConfigError, match="needs SLIMRANK_PROVIDER=cuda, found cpu"):
        OrtScorer.load(in_half, cuda_graphs=True)
    with pytest.raises(ConfigError, match="CUDA graphs need fp16, bf16, int8-gpu, and"):
        OrtScorer.load(tiny_model, cuda_graphs=True)
