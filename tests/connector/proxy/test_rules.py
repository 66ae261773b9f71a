from pathlib import Path

import pytest

from connector.proxy.rules import load_rules
from slimrank.errors import ConfigError

RULES = """
rules:
  - name: products
    indices: ["products-*"]
    fields: [title, description]
    rank_window_size: 50
    deadline_ms: 400
    percent: 10
  - name: manuals
    indices: [manuals]
    query_text: query.bool.must.0.multi_match.query
    template: "{title}: {body}"
    shadow: true
"""


def test_a_file_of_rules_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    rules = load_rules(file)
    assert [rule.name for rule in rules.rules] == ["products", "manuals"]
    assert rules.rules[0].percent == 10
    assert rules.rules[1].shadow
    assert rules.find("products-1,products-2") is rules.rules[0]
    assert rules.find("products-1,manuals") is None
    assert rules.find("") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("rules: [", "are not YAML"),
        ("rules: 3", "rules"),
        ("rules: [{indices: [a]}]", "rules.0.name"),
        ("rules: [{name: a, indices: []}]", "rules.0.indices"),
        ("rules: [{name: a, indices: [b], window: 3}]", "rules.0.window"),
        ("rules: [{name: a, indices: [b], percent: 0}]", "rules.0.percent"),
        ("rules: [{name: a, indices: [b], rank_window_size: 10001}]", "rules.0.rank_window_size"),
        ("rules: [{name: a, indices: [b], fields: [c], template: '{d}'}]", "give fields or a template"),
        ("rules: [{name: 'a b', indices: [c]}]", "rules.0.name"),
        ("- a", "rules"),
    ],
)
def test_an_invalid_rule_is_named(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as error:
        load_rules(file)
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_a_missing_file_of_rules_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the rules: cannot read"):
        load_rules(tmp_path / "missing.yaml")


@pytest.mark.parametrize("text", ["", "# rules: later\n", "[]", "0"])
def test_a_file_without_rules_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"rules\.yaml"):
        load_rules(file)
