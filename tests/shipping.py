"""A tiny stand-in for a checkout that ships two models: the default one, and one that keeps a single layer of the same base.

The checkout is real to every process: the packages are those of this one, by links, beside adapters of its own. The base lies in
the home folder as a download would leave it. The shallow model is made once a session, by the command itself; the deep one never.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimrank import store
from slimrank.settings import DEFAULT_MODEL_NAME
from tests.tiny import make_adapter

ROOT = Path(__file__).parent.parent
SHALLOW = "tiny-shallow"
BASE = "base/smollm2-135m-instruct"
PACKAGES = ("slimrank", "onnx_export", "training", "connector", "deploy")


@dataclass(frozen=True, slots=True)
class Shipping:
    """Where things lie."""

    checkout: Path
    home: Path

    @property
    def adapters(self) -> Path:
        return self.checkout / "models"

    @property
    def shallow(self) -> Path:
        """The folder of the shallow model, made and verified."""
        return self.home / "models" / SHALLOW

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Let this process and those that it starts take the checkout for the one they are in."""
        patch.setattr(store, "SHIPPED", (self.adapters,))
        patch.setenv("PYTHONPATH", str(self.checkout))
        patch.setenv("SLIMRANK_HOME", str(self.home))
        patch.setenv("SLIMRANK_THREADS", "1")


@pytest.fixture(scope="session")
def shipping_once(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Shipping:
    """Return the checkout with its shallow model made; read only."""
    from onnx_export.cli import pull

    made = Shipping(tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("home"))
    for package in PACKAGES:
        (made.checkout / package).symlink_to(ROOT / package)
    base = Path(shutil.copytree(tiny_checkpoint, made.home / BASE))
    (base / "source.json").write_text("{}")
    make_adapter(base, made.adapters / DEFAULT_MODEL_NAME)
    make_adapter(base, made.adapters / SHALLOW, layers=1)
    with pytest.MonkeyPatch.context() as patch:
        made.enter(patch)
        pull(SHALLOW)
    return made


@pytest.fixture
def shipping(shipping_once: Shipping, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shipping:
    """Return the checkout, taken for our own, from an empty working directory."""
    shipping_once.enter(monkeypatch)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return shipping_once
