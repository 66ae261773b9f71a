"""An audit that is killed at any point can continue, and ends with the same bytes."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from connector.audit.ask.access import Access
from connector.audit.flow import audit
from connector.audit.folder import Folder
from slimrank.errors import DataError, EngineError
from tests.connector.audit.auditing import WITHOUT_STEMS, shop_spec
from tests.connector.audit.shop import Index, Shop, make_shop
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine
KILLS = 10


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(queries=200)


@pytest.fixture(scope="module")
def indices(opensearch: Engine, shop: Shop) -> Iterator[tuple[Index, Index]]:
    before = Index(opensearch.url, "shop_v1").make(shop.products)
    after = Index(opensearch.url, "shop_v2").make(shop.products[:-30], WITHOUT_STEMS)
    yield before, after
    before.drop()
    after.drop()


def fingerprints(folder: Path) -> dict[str, str]:
    """Return the hash of every file, except the timings and the page that shows them."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "timings" not in str(file) and file.name != "report.html"
    }


@pytest.mark.slow
def test_an_audit_killed_at_ten_random_points_ends_with_the_same_bytes(
    indices: tuple[Index, Index], shop: Shop, tmp_path: Path
) -> None:
    spec = shop_spec(tmp_path, shop, indices[0].url, {"index": "shop_v2"}, requests_per_second=20)
    spec_file = tmp_path / "audit.yaml"
    spec_file.write_text(yaml.safe_dump(json.loads(spec.model_dump_json(exclude_none=True))))
    audit(spec, Folder(tmp_path / "whole"), Access())
    chance = random.Random(8)
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "slimrank", "audit", "gate", str(spec_file), "--out", str(killed)]
    kills, states = 0, set()
    while True:
        known = made_files(killed)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kills < KILLS:
            _wait_for_work(killed, known, process)
            time.sleep(chance.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL)
        ended = process.wait()
        if ended != -signal.SIGKILL:
            break
        kills += 1
        states.add(len(made_files(killed)))
    assert ended == 2  # the verdict: fail
    assert kills == KILLS
    assert len(states) > 4, "the kills did not fall at different points"
    kept = {name: digest for name, digest in fingerprints(killed).items() if not name.endswith(".partial")}
    assert kept == fingerprints(tmp_path / "whole")


def made_files(folder: Path) -> set[Path]:
    """Return every file of the folder, including half-written files."""
    return {file for file in folder.rglob("*") if file.is_file()}


def _wait_for_work(folder: Path, known: set[Path], process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has made a new file."""
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end and made_files(folder) <= known:
        time.sleep(0.01)


def test_a_finished_audit_is_not_asked_again(indices: tuple[Index, Index], shop: Shop, tmp_path: Path) -> None:
    spec = shop_spec(tmp_path, shop, indices[0].url, {"index": "shop_v2"})
    folder = Folder(tmp_path / "audit")
    first = audit(spec, folder, Access())
    times = {file: file.stat().st_mtime_ns for file in (folder.path / "answers").iterdir()}
    assert audit(spec, Folder(folder.path), Access()) == first
    assert times == {file: file.stat().st_mtime_ns for file in (folder.path / "answers").iterdir()}


def test_a_folder_holds_one_audit(indices: tuple[Index, Index], shop: Shop, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "audit")
    audit(shop_spec(tmp_path, shop, indices[0].url, {"index": "shop_v2"}), folder, Access())
    with pytest.raises(DataError, match="other settings"):
        audit(shop_spec(tmp_path, shop, indices[0].url, {"index": "shop_v2"}, k=5), Folder(folder.path), Access())


def test_answers_from_before_and_after_a_change_of_the_index_are_not_mixed(
    indices: tuple[Index, Index], shop: Shop, tmp_path: Path
) -> None:
    spec = shop_spec(tmp_path, shop, indices[0].url, {"index": "shop_v2"})
    audit(spec, Folder(tmp_path / "audit"), Access())
    indices[1].put(shop.products[-1:])
    try:
        with pytest.raises(EngineError, match="shop_v2 \\(after\\) changed since this audit began"):
            audit(spec, Folder(tmp_path / "audit"), Access())
    finally:
        indices[1].remove([shop.products[-1]["sku"]])
