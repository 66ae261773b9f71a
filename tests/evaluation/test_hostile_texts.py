"""Texts that are written to win."""

from slimrank.evaluation.hostile_texts import ATTACKS, MANY, MARK, PASTING, is_hostile


def test_every_pasting_attack_brings_the_query_and_all_but_one_keep_the_text() -> None:
    for attack in PASTING:
        assert "red shoes" in attack("red shoes", "a blue hat")
    kept = {name for name, attack in ATTACKS.items() if "a blue hat" in attack("red shoes", "a blue hat")}
    assert kept == set(ATTACKS) - {"only_the_query"}
    assert ATTACKS["query_many_times"]("red shoes", "").split().count("shoes") == MANY


def test_an_attacked_document_is_known_by_its_id() -> None:
    assert is_hostile(MARK + "d1")
    assert not is_hostile("d1")
