"""The attack itself is not part of the main run; what it takes for granted is."""

import re
from pathlib import Path

import yaml

from tests.attack import stage
from tests.attack.attacks import ATTACKS

ROOT = Path(__file__).parent.parent.parent


def _megabytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([gm]|Gi|Mi)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit[0] in "gG" else 1)


def test_processes_are_attacked_within_the_memory_that_they_ship_with() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    chart = yaml.safe_load((ROOT / "deploy/helm/slimrank/values.yaml").read_text())
    shipped = {name: _megabytes(services[name]["mem_limit"]) for name in ("gateway", "worker", "playground")}
    assert shipped == {
        "gateway": stage.GATEWAY_MEGABYTES,
        "worker": stage.WORKER_MEGABYTES,
        "playground": stage.PLAYGROUND_MEGABYTES,
    }
    assert shipped == {name: _megabytes(chart[name]["resources"]["limits"]["memory"]) for name in shipped}


def test_every_attack_says_what_it_does_in_a_line() -> None:
    for attack in [attack for attacks in ATTACKS.values() for attack in attacks]:
        assert attack.__doc__ and attack.__doc__.splitlines()[0].endswith(".")
