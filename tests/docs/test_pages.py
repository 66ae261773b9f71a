"""The documentation is current, its links are valid, and the code can read its example files."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from connector.audit.spec import Spec
from connector.proxy.rules import Rules
from docs import write_log
from docs.marks import filled
from slimrank.__main__ import app
from tests.docs.pages import LOG, PAGES, ROOT, blocks

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate_reference", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_index_of_the_log_is_current() -> None:
    assert filled(write_log.INDEX, write_log.BEGIN, write_log.END, write_log.render()), "run: python -m docs.write_log"
    assert write_log.INDEX.read_text(encoding="utf-8").endswith(f"{write_log.END}\n"), "entries go to the pages in docs/log"


@pytest.mark.parametrize("page", [*PAGES, *LOG], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_title(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_on_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:docs|tests|deploy|training|connector|slimrank|onnx_export)/[\w./-]+)`", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_named_in_a_sentence_exists_with_its_options(page: Path) -> None:
    """Only names are checked, since values in a sentence are often placeholders; tests/docs/test_commands.py checks blocks."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for named in re.findall(r"`(?:\.venv/bin/)?(slimrank [a-z][^`]*)`", prose):
        command: Any = get_command(app)
        words = named.split()[1:]
        while words and hasattr(command, "get_command") and re.fullmatch("[a-z]+", words[0]):
            command = command.get_command(None, words.pop(0))
            assert command is not None, named
        known = {"--help", *(name for option in command.params for name in (*option.opts, *option.secondary_opts))}
        assert {word.strip("[].,") for word in words if word.lstrip("[").startswith("--")} <= known, named


def test_the_rules_of_the_proxy_guide_are_valid() -> None:
    [rules] = blocks(ROOT / "docs" / "guides" / "opensearch.md", "yaml")
    assert Rules.model_validate(yaml.safe_load(rules)).rules[0].name == "products"


def test_the_specification_of_the_audit_guide_is_valid() -> None:
    spec = yaml.safe_load(blocks(ROOT / "docs" / "guides" / "audits.md", "yaml")[0])
    assert Spec.model_validate(spec | {"after": spec["before"] | spec["after"]}).after.index == "products_v2"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_guides_compiles_and_its_imports_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")
        for line in re.findall(r"^from (?:connector|slimrank)\S* import .+$", block, re.MULTILINE):
            exec(line, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_on_a_page_exists(page: Path) -> None:
    from slimrank.settings import Settings

    named = set(re.findall(r"SLIMRANK_([A-Z_]+[A-Z])", page.read_text(encoding="utf-8")))
    flags = (file.read_text(encoding="utf-8") for file in (ROOT / "connector").rglob("*.py"))
    known = {name.upper() for name in Settings.model_fields}
    known |= {name for text in flags for name in re.findall(r'envvar="SLIMRANK_([A-Z_]+)"', text)}
    known |= set(re.findall(r"\$\{SLIMRANK_([A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert {name for name in named - known if not name.startswith(("AUDIT_", "TEST_"))} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_on_a_page_exists(page: Path) -> None:
    from tests.deploy.test_observability import exported

    roles = {"slimrank_installer", "slimrank_searcher"}  # of OpenSearch's security plugin
    fields = {"slimrank_scored"}  # on a hit
    stems = roles | fields | exported() | {name.removesuffix("_bucket") for name in exported()}
    named = set(re.findall(r"\bslimrank_[a-z_]+[a-z]\b", page.read_text(encoding="utf-8")))
    assert named - stems == set()
