"""What several packages need is written in one file: a second definition is a second rule before long."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("slimrank", "training", "onnx_export", "connector", "deploy")
ONE_FILE = {
    '"--json"': "slimrank/options.py",
    "Json = dict[str, Any]": "slimrank/types.py",
    "-1000.0": "slimrank/scoring.py",
    '"model_sha256"': "slimrank/identity.py",
}


@pytest.mark.parametrize("text", ONE_FILE)
def test_a_definition_is_in_one_file(text: str) -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert {str(file.relative_to(ROOT)) for file in files if text in file.read_text(encoding="utf-8")} == {ONE_FILE[text]}
