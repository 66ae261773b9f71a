"""Scores are written as OpenSearch's parser needs them: fixed notation, a point, 18 characters at most."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimrank.serving.gateway.json_numbers import fixed, to_json


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (-5.0, "-5.0"),
        (1e-05, "0.00001"),
        (1e-15, "0.000000000000001"),
        (1 - 1e-15, "0.999999999999999"),
        (12.25, "12.25"),
        (1e-30, "0.0"),
        (1e300, "1000000000000.0"),
    ],
)
def test_a_number_is_written_in_fixed_notation(number: float, text: str) -> None:
    assert fixed(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_has_a_point_and_fits(number: float) -> None:
    text = fixed(number)
    assert re.fullmatch(r"-?\d+\.\d{1,15}", text)
    assert len(text) <= 18


@given(st.floats(-100, 100, width=32))
def test_a_float32_score_survives_to_a_millionth(score: float) -> None:
    assert float(fixed(score)) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="no JSON form"):
        fixed(number)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))
def test_everything_else_is_what_json_writes(value: object) -> None:
    assert json.loads(to_json(value)) == value
    assert to_json(value).isascii()
