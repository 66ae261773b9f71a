"""The warm-up's probe: short, kept for the next start, and never a reason to fail."""

from pathlib import Path

from slimrank.engine import probe
from slimrank.engine.session import OrtScorer


def test_the_smallest_batch_that_is_about_as_cheap_is_taken_and_none_too_small() -> None:
    assert probe.best_budget([(128, 0.2), (512, 0.6), (1024, 1.02), (2048, 2.0), (4096, 4.4)]) == 1024
    assert probe.best_budget([(128, 0.1), (512, 0.51), (1024, 1.0)]) == probe.LEAST_BUDGET
    assert not probe.is_telling([(128, 3.9)]), "a busy machine says nothing"


def test_other_work_in_one_round_does_not_decide() -> None:
    seconds = iter([9.0, 0.1, 0.5, 0.45, 0.12])
    now = [0.0]

    def run(rows: int, length: int) -> None:
        now[0] += next(seconds)

    assert [round(best, 2) for _, best in probe.timings(run, sizes=(64, 128, 256), clock=lambda: now[0])] == [0.1, 0.12]


def test_it_stops_at_the_first_slow_batch() -> None:
    now = iter(range(100))
    sizes: list[int] = []
    found = probe.timings(lambda rows, length: sizes.append(rows * length), clock=lambda: 2 * next(now))
    assert found == [(128, 2)]
    assert sizes == [128] * (1 + probe.ROUNDS)


def test_memory_bounds_the_batch() -> None:
    assert [tokens for tokens, _ in probe.timings(lambda rows, length: None, largest=1024)] == [128, 256, 512, 1024]
    assert probe.memory_tokens() >= 128


def test_timings_are_kept_by_machine_and_model_and_not_taken_again(tiny_model: Path, tmp_path: Path) -> None:
    first = OrtScorer.load(tiny_model, threads=1)
    first.warm_up(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text("[[128, 1.0], [512, 1.1], [1024, 1.2]]")
    second = OrtScorer.load(tiny_model, threads=1)
    second.warm_up(tmp_path)
    assert second._batch_tokens == 1024
    assert second.cost.is_known
    given = OrtScorer.load(tiny_model, threads=1, batch_tokens=256)
    given.warm_up(tmp_path)
    assert given._batch_tokens == 256
    assert probe.probe_file(tmp_path, "another") != file


def test_a_broken_file_or_folder_is_no_failure(tmp_path: Path) -> None:
    broken = tmp_path / "probe.json"
    broken.write_text("{")
    assert probe.kept(broken) is None
    probe.keep(broken / "below-a-file", [(128, 1.0)])


def test_a_gpu_is_tried_with_larger_batches() -> None:
    found = probe.timings(lambda rows, length: None, sizes=probe.GPU_SIZES, largest=20_000)
    assert [tokens for tokens, _ in found] == [*probe.SIZES, 4096, 8192, 16_384]
