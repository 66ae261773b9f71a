"""The measure of work for callers who left is right where the runs are known."""

import json
from pathlib import Path

from tests.serving.runs import AfterLeaving, WritingScorer, after_leaving


def test_only_what_is_done_after_a_caller_left_counts_and_a_run_in_hand_counts_in_part() -> None:
    runs = [("a", 0.0, 1.0), ("b", 1.0, 2.0), ("a", 2.0, 3.0), ("c", 3.0, 4.0)]
    assert after_leaving([json.dumps(run) for run in runs], {"a": 0.25, "b": 2.5}) == [
        AfterLeaving(1.75, 1),
        AfterLeaving(0.0, 0),
    ]


def test_each_run_is_written_down(tmp_path: Path) -> None:
    scorer = WritingScorer(tmp_path / "runs", document_seconds=0.01)
    scorer.score("a", ["x"] * 5)
    (work,) = after_leaving((tmp_path / "runs").read_text().splitlines(), {"a": 0.0})
    assert work.begun == 1
    assert work.seconds >= 0.05
