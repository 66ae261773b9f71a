"""Queries: their sources, the removal of personal data, and that the means of a sample estimate the means of the traffic."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audit.ask.plan import Cost
from connector.audit.cli import _print_cost
from connector.audit.sample import Query, count
from connector.audit.scrub import scrubber
from connector.audit.sources import Asked, read_file, read_log
from connector.audit.spec import Log
from slimrank.errors import ConfigError, DataError

ZIPF = [Asked(f"query {rank}", 1000 / rank) for rank in range(1, 301)]


def population(asked: list[Asked] = ZIPF, personal: str = "drop") -> dict[str, Asked]:
    with count(asked, scrubber(personal)) as found:
        return {one.query: one for one in found.asked()}


def drawn(size: int, seed: int = 0, golden: tuple[Asked, ...] = ()) -> list[Query]:
    with count(ZIPF, scrubber("keep")) as population:
        return list(population.draw(golden, size=size, seed=seed, strata=True))


def test_queries_that_differ_only_in_spaces_are_equal() -> None:
    assert population([Asked("red  shoes", 2), Asked(" red shoes", 3)]) == {"red shoes": Asked("red shoes", 5)}


@pytest.mark.parametrize(
    "text",
    ["write to ann@example.org", "call +49 170 1234567", "+491701234567", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00",
     "host 192.168.0.12", "ssn 123-45-6789"],
)  # fmt: skip
def test_personal_data_is_dropped_by_default_and_masked_on_request(text: str) -> None:
    assert scrubber("drop")(text) is None
    masked = scrubber("mask")(text)
    assert masked is not None
    assert "*" in masked


@pytest.mark.parametrize(
    "text", ["iphone 15 pro", "usb 3.0 cable 2m", "levis 501", "iso 27001", "boeing 747-400", "25 x 30 cm frame"]
)
def test_ordinary_numbers_are_not_personal_data(text: str) -> None:
    assert scrubber("drop")(text) == text


def test_a_users_pattern_is_used_and_an_invalid_pattern_is_named() -> None:
    assert scrubber("drop", [r"\bcust-\d+"])("order of cust-77") is None
    with pytest.raises(ConfigError, match="regular expression"):
        scrubber("drop", ["("])


def test_an_error_says_why_no_query_is_left() -> None:
    with pytest.raises(DataError, match="1 were dropped"), count([Asked("ann@example.org")], scrubber("drop")):
        pass


def test_a_sample_has_head_torso_and_tail_in_equal_numbers() -> None:
    strata = [query.stratum for query in drawn(45)]
    assert len(strata) == 45
    # the head is a third of the traffic and has only five queries, which are all drawn; torso and tail share the rest
    assert strata.count("head") == 5
    assert abs(strata.count("torso") - strata.count("tail")) <= 1


def test_half_a_surrogate_pair_is_replaced_because_no_engine_accepts_it() -> None:
    assert list(population([Asked("red \ud83d shoes")])) == ["red ? shoes"]


def test_the_same_seed_draws_the_same_queries() -> None:
    assert drawn(60, seed=3) == drawn(60, seed=3)
    assert drawn(60, seed=3) != drawn(60, seed=4)


def test_weights_sum_to_the_traffic_of_each_stratum() -> None:
    whole = {name: sum(query.weight for query in drawn(300) if query.stratum == name) for name in ("head", "torso", "tail")}
    some = {name: sum(query.weight for query in drawn(60) if query.stratum == name) for name in whole}
    assert some == pytest.approx(whole)


def test_the_means_of_samples_estimate_the_mean_of_the_traffic() -> None:
    values = {asked.query: float(int(asked.query.split()[1]) % 7) for asked in ZIPF}
    true = sum(asked.frequency * values[asked.query] for asked in ZIPF) / sum(asked.frequency for asked in ZIPF)
    means = []
    for seed in range(300):
        sample = drawn(45, seed=seed)
        means.append(sum(q.weight * values[q.query] for q in sample) / sum(q.weight for q in sample))
    assert sum(means) / len(means) == pytest.approx(true, abs=0.03)


def test_golden_queries_are_always_asked_and_have_weight_0_unless_drawn() -> None:
    golden = (Asked("query 1"), Asked("must not break"))
    queries = {query.query: query for query in drawn(30, golden=golden)}
    assert queries["query 1"].golden
    assert queries["query 1"].weight > 0
    assert (queries["must not break"].golden, queries["must not break"].weight) == (True, 0.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=60), st.integers(1, 80), st.integers(0, 5))
def test_any_traffic_can_be_sampled(frequencies: list[float], size: int, seed: int) -> None:
    asked = [Asked(f"q{number}", frequency) for number, frequency in enumerate(frequencies)]
    with count(asked, scrubber("keep")) as population:
        sample = list(population.draw((), size=size, seed=seed, strata=True))
    assert len(sample) <= min(size, len(asked))
    assert all(query.weight >= query.frequency - 1e-6 for query in sample)


def test_files_of_every_format_are_read(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"query_id":"a","query":"red","frequency":3}\n{"_id":"b","text":"blue"}\n')
    (tmp_path / "q.tsv").write_text("red shoes\t12\nno frequency\n")
    (tmp_path / "q.txt").write_text("one\n\ntwo\n")
    assert list(read_file(tmp_path / "q.jsonl")) == [Asked("red", 3, "a"), Asked("blue", 1, "b")]
    assert list(read_file(tmp_path / "q.tsv")) == [Asked("red shoes", 12), Asked("no frequency")]
    assert list(read_file(tmp_path / "q.txt")) == [Asked("one"), Asked("two")]


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"query":"red"}\n[1]\n')
    with pytest.raises(DataError, match=r"q\.jsonl:2: expected an object"):
        list(read_file(tmp_path / "q.jsonl"))


def test_queries_are_read_from_a_parameter_in_access_logs(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(
        '1.2.3.4 - - [23/Nov/2026] "GET /search?page=2&q=red+shoes%21 HTTP/1.1" 200 12\n"GET /cart HTTP/1.1" 200\nnonsense\n'
    )
    assert list(read_log(Log(file=log))) == [Asked("red shoes!")]


def test_a_slow_log_line_counts_as_its_share_of_the_shards(tmp_path: Path) -> None:
    log = tmp_path / "slow.log"
    line = (
        "[2026-11-23T10:00:00][WARN ][index.search.slowlog.query] [n] [products][0] took[5ms], took_millis[5], total_hits[9 hits], "
        'stats[], search_type[QUERY_THEN_FETCH], total_shards[4], source[{"size":10,"query":{"bool":{"must":[{"multi_match":'
        '{"query":"red shoes","fields":["title"]}}]}}}], id[], \n'
    )
    json_line = '{"source": "{\\"query\\":{\\"match\\":{\\"title\\":\\"blue hat\\"}}}", "total_shards": "2"}\n'
    log.write_text(line + json_line + "[nothing here]\n")
    assert list(read_log(Log(file=log, format="slow"))) == [Asked("red shoes", 0.25), Asked("blue hat", 0.5)]


def test_a_plan_prints_pairs_and_hours_first_and_suggests_a_sample(capsys: pytest.CaptureFixture[str]) -> None:
    _print_cost(Cost(queries=1000, searches=2000, pairs=50_000, hours=2.0), Path("audit.yaml"), Path("out"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "50000 pairs to rerank, about 2.0 hours, 2000 searches"
    assert lines[1].startswith("10 minutes would suffice for 83 queries, with a sampling error 3.5 times as large: ")
    assert lines[1].endswith("slimrank audit plan audit.yaml --out out --sample 83")
    _print_cost(Cost(queries=1000, searches=2000, pairs=0, hours=0.5), Path("audit.yaml"), Path("out"))
    assert capsys.readouterr().out.splitlines() == ["about 30 minutes, 2000 searches"]


@pytest.mark.parametrize(
    "line",
    [
        '{"query": null}', '{"query": ["a"]}', '{"query": "a", "frequency": null}', '{"query": "a", "frequency": "NaN"}',
        '{"query": "a", "frequency": NaN}', '{"query": "a", "frequency": 1e999}', '{"query": "a", "frequency": 0}',
        '{"query": "a", "frequency": 1' + "0" * 400 + "}", '{"query": "a", "query_id": ["b"]}', "[]", '"a"', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_line_without_a_query_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "queries.jsonl").write_text('{"query": "red shoes"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"queries\.jsonl:2: expected an object such as"):
        list(read_file(tmp_path / "queries.jsonl"))


@pytest.mark.parametrize("frequency", ["nan", "inf", "-3", "0"])
def test_an_invalid_frequency_is_named(tmp_path: Path, frequency: str) -> None:
    (tmp_path / "queries.tsv").write_text(f"red shoes\t{frequency}\n")
    with pytest.raises(DataError, match=r"queries\.tsv:1: expected a query, a tab and how often"):
        list(read_file(tmp_path / "queries.tsv"))


def test_a_byte_order_mark_is_not_part_of_the_first_query(tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_bytes(b"\xef\xbb\xbfred shoes\n")
    assert list(read_file(tmp_path / "queries.txt")) == [Asked("red shoes")]


def test_an_empty_file_of_queries_is_reported(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        list(read_file(tmp_path / "queries.jsonl"))
