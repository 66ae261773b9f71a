"""Decide between pass, warn and fail: apply the rules of the specification to the measures, and explain each result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from connector.audit.compare.significance import LEVEL, Paired
from connector.audit.spec import DEFAULT_RULES, JUDGED, VerdictRule

Verdict = Literal["pass", "warn", "fail"]
EXIT_CODES: Mapping[Verdict, int] = {"pass": 0, "warn": 1, "fail": 2}
_ALMOST_ZERO = 1e-12


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule and its outcome."""

    rule: str
    outcome: Verdict | Literal["not measured"]
    message: str


def judge_rules(
    rules: Sequence[VerdictRule], paired: Sequence[Paired], scalars: Mapping[str, float], *, judged_share: float
) -> list[RuleResult]:
    """Apply every rule.

    If a measure is not available, its rule does not pass. A default rule, which the user did not ask for, then counts as not
    measured.

    Args:
        scalars: The values of single-value measures, by name; nan if it was not measured.
        judged_share: The share of the changed traffic that has judgments.
    """
    by_name = {pair.measure: pair for pair in paired}
    findings = [_apply(rule, by_name, scalars, judged_share) for rule in rules]
    if tuple(rules) == DEFAULT_RULES:
        return findings
    return [_insisted(rule, finding) for rule, finding in zip(rules, findings, strict=True)]


def outcome_of(findings: Sequence[RuleResult]) -> Verdict:
    """Return the worst outcome."""
    outcomes = {finding.outcome for finding in findings}
    return "fail" if "fail" in outcomes else "warn" if "warn" in outcomes else "pass"


def _insisted(rule: VerdictRule, finding: RuleResult) -> RuleResult:
    if finding.outcome != "not measured":
        return finding
    cure = "name a judge whose grades cover the queries" if "nDCG" in rule.measure or rule.measure in JUDGED else "see `content`"
    return RuleResult(finding.rule, rule.then, f"{finding.message}, so this rule is not met; {cure}, or leave the rule out")


def _apply(rule: VerdictRule, paired: Mapping[str, Paired], scalars: Mapping[str, float], judged_share: float) -> RuleResult:
    name = words_of(rule)
    pair = paired.get(rule.measure)
    if pair is not None and (rule.drop is not None or rule.rise is not None):
        return RuleResult(name, *_apply_paired(rule, pair))
    value = scalars.get(rule.measure, float("nan"))
    if isnan(value):
        return RuleResult(name, "not measured", f"{rule.measure} was not measured")
    if rule.unless_judged and judged_share >= 0.5:
        words = f"{in_words(rule.measure, value)}; judgments decide, because they cover {judged_share:.0%} of the changes"
        return RuleResult(name, "pass", words)
    ndcg = paired.get("nDCG")
    if rule.unless_better and ndcg is not None and ndcg.p_better <= LEVEL:
        return RuleResult(name, "pass", f"{in_words(rule.measure, value)}, and nDCG is better (p {ndcg.p_better:.4f})")
    fired = (rule.above is not None and value > rule.above + _ALMOST_ZERO) or (
        rule.below is not None and value < rule.below - _ALMOST_ZERO
    )
    return RuleResult(name, rule.then if fired else "pass", in_words(rule.measure, value))


def _apply_paired(rule: VerdictRule, pair: Paired) -> tuple[Verdict, str]:
    limit = rule.drop if rule.drop is not None else rule.rise or 0.0
    worse = -pair.difference if rule.drop is not None else pair.difference
    p_value = pair.p_worse if rule.drop is not None else pair.p_better
    beyond = worse > limit + _ALMOST_ZERO
    fired = beyond and (not rule.significant or p_value <= LEVEL)
    moved = round(pair.difference, 4)
    verb = f"fell by {-moved:.4f}" if moved < 0 else f"rose by {moved:.4f}" if moved > 0 else "stayed as it was"
    words = f"{pair.measure} {verb} (95% interval {pair.low:+z.4f} to {pair.high:+z.4f}, p {p_value:.4f})"
    if beyond and not fired:
        words += "; this is not significant"
    return (rule.then if fired else "pass"), words


def words_of(rule: VerdictRule) -> str:
    """Return a rule as text, such as ``fail if nDCG drops by more than 0.02, significantly``."""
    limits = {"drop": "drops by more than", "rise": "rises by more than", "below": "is below", "above": "is above"}
    limit, words = next((getattr(rule, name), words) for name, words in limits.items() if getattr(rule, name) is not None)
    if limit == 0 and rule.drop is not None:
        return f"{rule.then} if {rule.measure} drops{', significantly' if rule.significant else ''}"
    tail = (
        (", significantly" if rule.significant else "")
        + (", unless judged" if rule.unless_judged else "")
        + (", unless better" if rule.unless_better else "")
    )
    return f"{rule.then} if {rule.measure} {words} {limit:g}{tail}"


COUNTS = ("failed queries", "golden broken", "documents lost", "documents new", "documents changed")
SHARES = ("changed", "newly empty", "newly found")


def show(measure: str, value: float) -> str:
    """Return a measure's value for readers: a count, a percentage, or a number with four digits."""
    return f"{value:,.0f}" if measure in COUNTS else f"{value:.2%}" if measure in SHARES else f"{value:.4g}"


def in_words(measure: str, value: float) -> str:
    """Return a measure and its value as a sentence."""
    match measure:
        case "golden broken":
            return f"{value:.0f} golden {'query is' if value == 1 else 'queries are'} broken"
        case "newly empty" | "newly found":
            return f"{value:.2%} of the traffic is {measure}"
        case "failed queries":
            return f"the new side refuses {value:.0f} queries that the old one answers"
        case "documents lost" | "documents new" | "documents changed":
            return f"{value:,.0f} documents are {measure.removeprefix('documents ')}"
        case "RBO":
            return f"the similarity of the two rankings is {value:.4g} (RBO; 1 means equal)"
        case "detectable nDCG":
            return f"a drop of nDCG below {value:.4f} would probably not be detected; ask more queries to detect smaller drops"
        case _:
            return f"{measure} is {value:.4g}"
