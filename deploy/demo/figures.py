"""The gain over all judged questions of the demo: measured beforehand, stored beside this file, and shown only for the same model."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from slimrank.adapters import ADAPTER_HASH_KEY
from slimrank.manifest import Manifest

FIGURES_FILE = Path(__file__).with_name("figures.json")


class Figures(BaseModel):
    """One measurement; ``deploy.demo.measure`` makes it."""

    adapter_sha256: str
    precision: str
    python: str
    depth: int
    questions: int
    before: float
    after: float
    low: float
    high: float
    better: int
    worse: int

    def sentence(self) -> str:
        """Return the demo's last sentence."""
        return (
            f"All {self.questions} judged questions, BM25's top {self.depth}: nDCG@10 {self.before:.3f} -> {self.after:.3f}, a gain of"
            f" {self.after - self.before:.3f} (95% interval {self.low:.3f} to {self.high:.3f}); {self.better} are answered better,"
            f" {self.worse} worse. Measured beforehand with this adapter in {self.precision} on Python {self.python}'s documentation"
            " (python -m deploy.demo.measure)."
        )


def read_figures(path: Path, manifest: Manifest, depth: int) -> Figures | None:
    """Return the figures if they were measured with this model's adapter, in its precision and at this depth; else None."""
    try:
        figures = Figures.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    measured = (figures.adapter_sha256, figures.precision, figures.depth)
    return figures if measured == (manifest.made_with.get(ADAPTER_HASH_KEY), manifest.precision, depth) else None
