"""Attack running processes within the memory that the containers ship with, and print what survived.

    python -m tests.attack [--model FOLDER] [--rounds 3] [name ...]

An attack is survived where every try is refused or answered as it should be, no process ends, and an honest caller is
answered all the while. Then one hostile caller goes on beside honest ones, and their goodput is compared with what it is
without, round by round. Ends with status 1 where anything did not survive.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.attack import goodput
from tests.attack.attacks import ATTACKS, Tries
from tests.attack.stage import Stage, staged

GOODPUT = 0.9


def main() -> int:
    """Run the attacks; return how many were not survived."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, help="model folder of the worker; left out, a tiny one made now")
    parser.add_argument("--rounds", type=int, default=3, help="of load without and with a hostile caller; 20 take ten minutes")
    parser.add_argument("names", nargs="*", help="attacks to run, and `goodput`; left out, all")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes end and their groups are removed
    console, lost = Console(highlight=False, soft_wrap=True), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with staged(asked.model or _tiny(place), place, _certificates(place)) as stage:
            console.print(
                "| area | attack | tried | survived | longest wait of an honest caller | seconds |\n|---|---|---|---|---|---|"
            )
            for area, attacks in ATTACKS.items():
                for attack in attacks:
                    if not asked.names or attack.__name__ in asked.names:
                        lost += _run(console, stage, area, attack(stage), attack.__doc__ or "")
            if asked.rounds and (not asked.names or "goodput" in asked.names):
                lost += _goodput(console, stage, asked.rounds)
            console.print(f"\npeak memory: {stage.memory()}")
    return min(lost, 1)


def _run(console: Console, stage: Stage, area: str, tries: Tries, words: str) -> int:
    begin, outcomes = time.monotonic(), []
    with stage.watched() as wrong:
        try:
            outcomes += list(tries)
        except Exception as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    complaints = [*(outcome for outcome in outcomes if outcome), *dict.fromkeys(wrong), *stage.complaints()]
    survived = 0 if wrong else sum(not outcome for outcome in outcomes)
    wait = max(stage.waits, default=0.0)
    line = f"| {area} | {words.splitlines()[0]} | {len(outcomes)} | {survived} | {wait:.1f} s | {time.monotonic() - begin:.0f} |"
    console.print(line, markup=False)
    for complaint in complaints[:6]:
        console.print(f"    LOST: {complaint}", markup=False)
    return len(complaints)


def _goodput(console: Console, stage: Stage, rounds: int) -> int:
    """Compare what honest callers get without and with a hostile one."""
    alone, beside, answers = goodput.measured(stage, rounds)
    share = beside.share / alone.share if alone.share else 0.0
    console.print(
        f"\ngoodput of honest callers beside a hostile one: {share:.0%} ({beside}; without: {alone}; {rounds} rounds)\n"
        f"the hostile one's answers: {dict(sorted(answers.items()))} (0: hung up)",
        markup=False,
    )
    return int(share < GOODPUT)


def _tiny(folder: Path) -> Path:
    from tests.tiny import make_checkpoint, make_model

    return make_model(make_checkpoint(folder / "checkpoint"), folder / "tiny")


def _certificates(folder: Path) -> Path:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
