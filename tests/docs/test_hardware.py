"""The hardware page: its arithmetic, its tables, and the numbers in its sentences; every example of the guides fits the smallest machine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from connector.elasticsearch.install import InstallPlan as ElasticsearchPlan
from connector.gateway_client import DEFAULT_TIMEOUT_SECONDS
from connector.opensearch.bodies import READ_TIMEOUT_SECONDS
from connector.proxy.rules import Extension, Rules
from docs import hardware
from docs.figures import sizings, times_ours
from docs.hardware import EXAMPLE_TOKENS, MACHINES, SMALLEST, Machine, time_of
from docs.marks import filled
from tests.docs.pages import GUIDES, LOG, blocks

PAGE = " ".join(hardware.PAGE.read_text(encoding="utf-8").split())  # wherever its lines end
WINDOW = r"rank_window_size[\"`]?\s*[:=]\s*(\d+)"
DEADLINE = r"deadline[_-]ms[\"`]?[\s:=]+(\d+)"


class Example(NamedTuple):
    """A number of hits, and the seconds in which they must be scored."""

    hits: int
    seconds: float


@pytest.mark.parametrize("begin_and_end", hardware.render(), ids=["times", "needs"])
def test_the_tables_are_current(begin_and_end: tuple[str, str]) -> None:
    text = hardware.render()[begin_and_end]
    assert filled(hardware.PAGE, *begin_and_end, text), "run: python -m docs.hardware"


def test_the_numbers_in_the_sentences_are_those_of_the_arithmetic() -> None:
    lost = hardware._lost_to_more_cores(4) - 1
    for said in (f"{lost:.0%}", "25.2 pairs", "and 9.2 without", f"multiplied by {hardware.WITHOUT_VNNI:.1f}", ".158 s"):
        assert said in PAGE
    log = "".join(page.read_text(encoding="utf-8") for page in LOG)
    assert all(measured in log for measured in ("25.2 pairs/s", "ours 9.2 pairs/s", "| 42,963 | .284,", "| 21,844 | .158,"))
    assert f"{round(hardware.GPU_TOKENS_A_SECOND, -3):,.0f} tokens a second" in PAGE


def test_the_figures_of_minilm_on_the_page_of_models_are_those_of_the_benchmark() -> None:
    times = times_ours("six layers of MiniLM's size, fp32")
    models = hardware.PAGE.with_name("models.md").read_text(encoding="utf-8")
    assert f"{1 / max(times):.1f} to {1 / min(times):.1f}" in models


def test_a_request_that_was_measured_has_its_measured_time() -> None:
    [measured] = [line for line in sizings() if (line.processes, line.cores, line.documents, line.tokens) == (1, 2, 10, 128)]
    found = time_of(Machine("2 cores", 2), 10, 128)
    assert found.is_measured and found.seconds == measured.seconds and not str(found).startswith("~")


def test_computed_times_are_close_to_measured_times() -> None:
    per_core = hardware._core_seconds(128)
    for line in sizings():
        if (line.precision, line.processes, line.cores, line.tokens) == ("int8", 1, 2, 128):
            assert line.documents / 2 * per_core == pytest.approx(line.seconds, rel=0.05)


def test_more_hits_and_longer_texts_take_longer_and_the_core_with_the_most_documents_decides() -> None:
    for machine in MACHINES:
        times = [time_of(machine, hits, 128).seconds for hits in (1, 10, 30, 100)]
        assert times == sorted(times)
        assert time_of(machine, 30, 64).seconds <= time_of(machine, 30, 400).seconds
    eight = Machine("8 cores", 8)
    assert time_of(eight, 10, 128) == time_of(eight, 16, 128) != time_of(eight, 17, 128)


def test_a_length_above_the_measured_ones_is_refused() -> None:
    with pytest.raises(ValueError, match="longest that were measured"):
        time_of(SMALLEST, 10, 1000)


# -- the examples of the guides ----------------------------------------------------------------------------------------


def examples(page: Path) -> Iterator[Example]:
    """Yield every window of a page with its deadline, stated or the default of the command or setting."""
    for block in blocks(page, "yaml"):
        if block.lstrip("# \n").startswith(("rules", "rules.yaml")):
            for rule in Rules.model_validate(yaml.safe_load(block)).rules:
                yield Example(rule.rank_window_size, rule.deadline_ms / 1000)
    text = page.read_text(encoding="utf-8")
    for found in re.findall(r"\"slimrank\": (\{[^{}]*\})", text):
        asked = Extension.model_validate(json.loads(found))
        yield Example(asked.rank_window_size, asked.deadline_ms / 1000)
    for found in re.findall(WINDOW, "\n".join(blocks(page, "python"))):
        yield Example(int(found), DEFAULT_TIMEOUT_SECONDS)
    for block in blocks(page, "json"):
        for found in re.findall(WINDOW, block):
            yield Example(int(found), ElasticsearchPlan.__dataclass_fields__["deadline_ms"].default / 1000)
    for found in re.findall(r"`\"size\": (\d+)`", text):
        yield Example(int(found), READ_TIMEOUT_SECONDS - 0.5)
    for found in re.findall(rf"{DEADLINE}[^\n`]*auto", text):
        yield Example(5, int(found) / 1000)  # the engine chooses the number of hits, at least a few


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_window_of_a_guide_is_scored_within_its_deadline_on_the_smallest_machine(page: Path) -> None:
    for example in examples(page):
        needed = time_of(SMALLEST, example.hits, EXAMPLE_TOKENS).seconds
        assert needed <= example.seconds, f"{example} takes {needed:.1f} s on {SMALLEST.name}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_window_and_every_deadline_is_checked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    windows, deadlines = re.findall(WINDOW, text), re.findall(DEADLINE, text)
    found = list(examples(page))
    assert set(map(int, windows)) <= {each.hits for each in found}
    assert {int(deadline) / 1000 for deadline in deadlines} <= {each.seconds for each in found}


def test_the_guides_have_examples_with_windows() -> None:
    assert sum(len(list(examples(page))) for page in GUIDES) >= 6


def test_python_that_reranks_states_its_window() -> None:
    for page in GUIDES:
        for block in blocks(page, "python"):
            assert "rerank_search(" not in block or re.search(WINDOW, block), (
                f"{page.name}: the default window is for large machines"
            )
