"""Both stages on a tiny model, then export, verify and serve: what a user does, in seconds."""

from pathlib import Path

import pytest

from onnx_export.adapter import merge
from onnx_export.export import export
from onnx_export.verify import verify
from slimrank import Reranker
from tests.tiny import make_checkpoint
from tests.training.conftest import make_groups
from training.adapter import average
from training.config import FinegrainedConfig, WarmupConfig, read_config
from training.data.groups import write_groups
from training.evaluate import write_values
from training.finegrained import train as finegrained
from training.warmup import train as warmup

CONFIGS = Path("training/configs")
VALUES = {"fusion": {"weight": 9.0, "first_stage": "bm25"}, "calibration": {"scale": 2.0, "offset": -1.0}}


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_tiny_model_goes_through_both_stages_to_a_served_folder(kind: str, tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base", kind)
    write_groups(tmp_path / "groups.jsonl", make_groups(24))
    places = {"model__base": base, "groups": tmp_path / "groups.jsonl", "checkpoint_minutes": 5}
    first = warmup(read_config(CONFIGS / "tiny-warmup.yaml", WarmupConfig, **places, output=tmp_path / "one"))
    config = read_config(CONFIGS / "tiny.yaml", FinegrainedConfig, **places, model__start=first, output=tmp_path / "two")
    average([finegrained(config)], tmp_path / "adapter")
    write_values(tmp_path / "adapter", VALUES)

    merged = merge(tmp_path / "adapter", base, tmp_path / "merged")
    export(merged, tmp_path / "model", lambda *_: None)
    assert verify(tmp_path / "model", lambda *_: None, checkpoint=merged).passed

    reranker = Reranker.load(tmp_path / "model", threads=1)
    documents = ["a spoon", "a fork", "a cloud"]
    assert sorted(hit.index for hit in reranker.rank("spoon", documents)) == [0, 1, 2]
    assert [hit.index for hit in reranker.rank("spoon", documents, first_stage_order=True)] == [0, 1, 2]
