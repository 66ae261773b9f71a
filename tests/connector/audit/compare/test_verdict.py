"""The rules of the verdict, one at a time."""

import re
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from connector.audit.compare.significance import Paired
from connector.audit.compare.verdict import EXIT_CODES, judge_rules, outcome_of, words_of
from connector.audit.spec import DEFAULT_RULES, VerdictRule


def pair(difference: float, *, p_worse: float = 0.5, p_better: float = 0.5) -> Paired:
    return Paired(
        "nDCG",
        0.5,
        0.5 + difference,
        difference,
        difference - 0.01,
        difference + 0.01,
        0,
        p_worse,
        p_better,
        p_worse,
        0.01,
        1,
        1,
        1,
    )


def outcome(rule: VerdictRule, paired: Paired | None = None, judged_share: float = 1.0, **scalars: float) -> str:
    named = {name.replace("_", " "): value for name, value in scalars.items()}
    return judge_rules([rule], [paired] if paired else [], named, judged_share=judged_share)[0].outcome


@pytest.mark.parametrize(
    ("difference", "p_worse", "expected"),
    [(-0.05, 0.01, "fail"), (-0.05, 0.2, "pass"), (-0.01, 0.01, "pass"), (0.05, 1.0, "pass"), (0.0, 1.0, "pass")],
)
def test_a_drop_must_be_large_and_significant(difference: float, p_worse: float, expected: str) -> None:
    assert outcome(VerdictRule(measure="nDCG", drop=0.02, significant=True), pair(difference, p_worse=p_worse)) == expected


def test_a_rule_without_significance_uses_only_the_size() -> None:
    assert outcome(VerdictRule(measure="nDCG", drop=0.02), pair(-0.03, p_worse=0.9)) == "fail"


def test_a_rule_can_limit_a_rise() -> None:
    assert outcome(VerdictRule(measure="nDCG", rise=0.02, then="warn"), pair(0.03)) == "warn"


@pytest.mark.parametrize(("value", "expected"), [(0.0, "pass"), (0.02, "fail"), (float("nan"), "fail")])
def test_a_rule_can_limit_a_single_value(value: float, expected: str) -> None:
    assert outcome(VerdictRule(measure="newly empty", above=0.01), newly_empty=value) == expected


def test_much_change_is_a_warning_unless_ndcg_is_better() -> None:
    rule = VerdictRule(measure="RBO", below=0.95, unless_better=True, then="warn")
    assert outcome(rule, pair(0.0), RBO=0.9) == "warn"
    assert outcome(rule, pair(0.03, p_better=0.01), RBO=0.9) == "pass"
    assert outcome(rule, None, RBO=0.96) == "pass"


def test_a_nearly_new_page_is_a_warning_even_if_ndcg_is_better() -> None:
    better = pair(0.06, p_better=0.0001)
    for rbo, expected in ((0.45, "warn"), (0.6, "pass")):
        findings = judge_rules(list(DEFAULT_RULES), [better], {"RBO": rbo, "detectable nDCG": 0.01}, judged_share=1.0)
        assert outcome_of(findings) == expected


def test_a_difference_that_rounds_to_0_neither_fell_nor_rose() -> None:
    found = judge_rules([VerdictRule(measure="nDCG", drop=0.02)], [pair(-0.00000001)], {}, judged_share=1.0)[0]
    assert found.message.startswith("nDCG stayed as it was (95% interval -0.0100 to +0.0100")


def test_much_change_alone_is_not_a_failure_if_there_are_judgments() -> None:
    rule = VerdictRule(measure="RBO", below=0.7, unless_judged=True)
    assert outcome(rule, pair(0.0), RBO=0.3) == "pass"
    assert outcome(rule, pair(0.0), judged_share=0.2, RBO=0.3) == "fail"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"measure": "ndcg", "drop": 0.02}, "there is no measure 'ndcg'; did you mean nDCG"),
        ({"measure": "nDCG@10", "drop": 0.02}, "did you mean nDCG"),
        ({"measure": "newly-empty", "above": 0}, "did you mean newly empty"),
        ({"measure": "zzz", "above": 0}, "There are nDCG, RR, AP, P, overlap"),
        ({"measure": "RBO", "drop": 0.1}, "a rule on RBO names `below` or `above`"),
        ({"measure": "nDCG", "below": 0.5}, "a rule on nDCG names `drop` or `rise`"),
        ({"measure": "RBO", "below": float("nan")}, "finite number"),
        ({"measure": "RBO", "below": 0.5, "significant": True}, "`significant` is for nDCG"),
    ],
)
def test_a_rule_that_could_never_fire_is_refused(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        VerdictRule.model_validate(rule)


@pytest.mark.parametrize("then", ["warn", "fail"])
def test_a_rule_whose_measure_is_missing_does_not_pass(then: Literal["warn", "fail"]) -> None:
    found = judge_rules([VerdictRule(measure="nDCG", drop=0.02, then=then)], [], {}, judged_share=1.0)[0]
    assert (found.outcome, found.message) == (
        then,
        "nDCG was not measured, so this rule is not met; name a judge whose grades cover the queries, or leave the rule out",
    )


def test_default_rules_that_need_judgments_are_skipped_without_them() -> None:
    findings = judge_rules(list(DEFAULT_RULES), [], {"RBO": 1.0}, judged_share=1.0)
    assert outcome_of(findings) == "pass"
    assert "not measured" in {finding.outcome for finding in findings}


def test_the_worst_finding_is_the_verdict_and_its_exit_code() -> None:
    findings = judge_rules(list(DEFAULT_RULES), [pair(-0.05, p_worse=0.001)], {"RBO": 0.9}, judged_share=1.0)
    assert outcome_of(findings) == "fail"
    assert EXIT_CODES == {"pass": 0, "warn": 1, "fail": 2}
    assert outcome_of([]) == "pass"


def test_rules_are_written_as_sentences() -> None:
    assert [words_of(rule) for rule in DEFAULT_RULES[:2]] == [
        "fail if nDCG drops by more than 0.02, significantly",
        "warn if nDCG drops, significantly",
    ]
    assert (
        words_of(VerdictRule(measure="RBO", below=0.95, unless_better=True, then="warn"))
        == "warn if RBO is below 0.95, unless better"
    )
