"""Find the settings for a budget of time, on this machine.

What a setting gains was measured once (``slimrank.evaluation.frontier``) and holds anywhere. What it takes is computed: the engine's cost model
is fitted in warm-up, which takes a second or two the first time, and says what a request of so many documents takes a model that is
here. A model that is not here is taken to be so many times as slow or quick as on the machine of the report.
"""

import random
from collections.abc import Mapping
from pathlib import Path

from slimrank.engine.loading import open_engine
from slimrank.engine.probe import PROBES
from slimrank.engine.session import OrtScorer
from slimrank.engine.window_scorer import WindowScorer
from slimrank.evaluation.frontier import Report, Row, Setting
from slimrank.evaluation.frontier_turns import request_of
from slimrank.settings import Settings


class Expectation:
    """Estimate how long settings take on this machine.

    Args:
        report: Where gains and times were measured.
        folders: Model folders that are here, by the name of the model; at least one must be in the report with a time.
    """

    def __init__(self, report: Report, settings: Settings, folders: Mapping[str, Path]) -> None:
        self._times = {row.setting: row.p50_ms for row in report.rows if row.p50_ms is not None}
        self._scorers: dict[str, OrtScorer] = {}
        for name, folder in folders.items():
            self._scorers[name] = open_engine(settings, folder)
            self._scorers[name].warm_up(settings.home_folder / PROBES)
        self._known: dict[Setting, float] = {}

    def milliseconds(self, row: Row) -> float | None:
        """Return the time of a setting; None if neither its model nor a measured time is there."""
        setting = row.setting
        if not setting.first:
            return self._of(setting)
        cheap = self._of(Setting(setting.first, setting.hits, setting.tokens, setting.window))
        full = self._of(Setting(setting.model, setting.keep, setting.tokens, setting.window))
        return None if cheap is None or full is None else cheap + full

    def _of(self, setting: Setting) -> float | None:
        if setting not in self._known:
            scorer = self._scorers.get(setting.model)
            found = _computed(scorer, setting) if scorer else self._scaled(setting)
            if found is None:
                return None
            self._known[setting] = found
        return self._known[setting]

    def _scaled(self, setting: Setting) -> float | None:
        """Return the report's time, scaled by how much slower a model of this machine is here than in the report."""
        there = self._times.get(setting)
        for name, scorer in self._scorers.items():
            same = Setting(name, setting.hits, setting.tokens, setting.window)
            if there is not None and (reference := self._times.get(same)):
                return there * _computed(scorer, same) / reference
        return None


def _computed(scorer: OrtScorer, setting: Setting) -> float:
    """Return the time that the engine's cost model expects for documents that are cut as the setting says."""
    query, documents = request_of(random.Random(0), 1, setting.tokens)
    [tokens] = WindowScorer(scorer, scorer.encoder, max_tokens=setting.tokens).token_counts(query, documents)
    return 1000 * scorer.cost.seconds(scorer.cost.work([tokens] * setting.hits)[-1])
