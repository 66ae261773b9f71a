"""The README is true: its pictures and figures are the measured ones, and its answer comes from the shipped adapter."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs import figures, write_readme
from docs.marks import fill
from docs.pictures import cost_picture, gain_picture
from slimrank.prompt import SLIMRANK
from tests.docs.pages import ROOT, blocks

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
LINES_OF_TWO_SCREENS = 130
SVG = "{http://www.w3.org/2000/svg}"


def test_pictures_figures_and_answer_are_current() -> None:
    assert write_readme.stale() == [], "run: python -m docs.write_readme"


def test_the_answer_comes_from_the_shipped_adapter_and_prompt() -> None:
    [answer] = [json.loads(block) for block in blocks(README, "json")]
    fitted = json.loads((figures.CARD.parent / "slimrank.json").read_text(encoding="utf-8"))
    meta = answer["meta"]
    assert meta["calibration"] == fitted["calibration"] and meta["fusion_weight"] == fitted["fusion"]["weight"]
    assert meta["prompt_sha256"] == SLIMRANK.digest()
    assert [result["index"] for result in answer["results"]] == [1, 0], "the example shows a right order"


def test_a_new_card_makes_the_readme_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tmp_path / "README.md"
    text = figures.CARD.read_text(encoding="utf-8")
    mean = re.search(r"^\| \*\*mean\*\*.*$", text, re.MULTILINE)
    assert mean is not None
    card.write_text(text.replace(mean[0], re.sub(r"[+-]\.\d+ \[.*?\]", "+.999 [+.998, +.999]", mean[0], count=1)))
    monkeypatch.setattr(write_readme, "gains", lambda: figures.gains(card))
    assert write_readme.stale() == ["gain.svg", "gain"]


def test_the_mean_gain_is_the_last_row_of_the_card() -> None:
    *sets, mean = figures.gains()
    assert mean.name == "mean" and len(sets) >= 4
    assert mean.difference == pytest.approx(sum(each.difference for each in sets) / len(sets), abs=0.002)


def test_a_card_without_intervals_is_refused_with_a_message(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(
        "| test set (queries) | BM25 | alone | fused | gain |\n|---|---|---|---|---|\n| shop | .5 | .6 | .6 | +.1 |\n"
    )
    with pytest.raises(ValueError, match="not a difference with an interval"):
        figures.gains(card)


@pytest.mark.parametrize("picture", [gain_picture(figures.gains()), cost_picture()], ids=["gain", "cost"])
def test_a_picture_is_well_formed_has_a_title_and_is_legible(picture: str) -> None:
    root = ElementTree.fromstring(picture)
    assert len(root.findtext(f"{SVG}title") or "") > 100
    texts = root.findall(f"{SVG}text")
    assert len(texts) > 10 and "font: 12px" in picture
    assert all(0 <= float(text.attrib["x"]) <= 410 and 0 <= float(text.attrib["y"]) <= 340 for text in texts)


def test_text_is_written_only_between_marks_that_occur_once(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- a -->\n<!-- a -->\n<!-- end -->\n")
    with pytest.raises(ValueError, match="each once"):
        fill(page, "<!-- a -->", "<!-- end -->", "text")


def test_the_readme_fits_on_two_screens() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LINES_OF_TWO_SCREENS


def test_every_package_is_in_the_tree_of_the_architecture() -> None:
    tree = ARCHITECTURE.read_text(encoding="utf-8").split("```text")[1].split("```")[0]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "docs"}
    assert all(f"{package}/" in tree for package in packages)
    assert all((ROOT / folder).is_dir() for folder in re.findall(r"^([a-z_/]+/) ", tree, re.MULTILINE))


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE))
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
