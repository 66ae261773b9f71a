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
import threading
import time
from pathlib import Path

from rich.console import Console

from tests.attack.attacks import ATTACKS, GOOD, MEGABYTE, Tries
from tests.attack.stage import Stage, staged

GOODPUT = 0.9
ROUND_SECONDS = 15.0


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
    """Compare what honest callers get without and with a hostile one, in turns, so that the machine's own load falls on both."""
    alone, beside = 0, 0
    for _ in range(rounds):
        alone += _answered(stage)
        ended = threading.Event()
        hostile = threading.Thread(target=_hostile, args=(stage, ended))
        hostile.start()
        beside += _answered(stage)
        ended.set()
        hostile.join()
    share = beside / alone if alone else 0.0
    console.print(
        f"\ngoodput of honest callers beside a hostile one: {share:.0%} of {alone} answers in {rounds} rounds", markup=False
    )
    return int(share < GOODPUT)


def _answered(stage: Stage) -> int:
    """Return how many of two honest callers' requests, a few a second, are answered with 200 within two seconds."""
    counts = [0, 0]
    until = time.monotonic() + ROUND_SECONDS

    def ask(place: int) -> None:
        while time.monotonic() < until:
            begin = time.monotonic()
            body = {"query": f"moon {begin}", "documents": GOOD["documents"]}
            counts[place] += stage.post(body, key="honest").status_code == 200 and time.monotonic() - begin < 2
            time.sleep(max(0.0, 0.25 - (time.monotonic() - begin)))

    callers = [threading.Thread(target=ask, args=(place,)) for place in range(len(counts))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(counts)


def _hostile(stage: Stage, ended: threading.Event) -> None:
    """Send large, wrong and abandoned requests, one after the other."""
    many = {"query": "q", "documents": [f"document {place}" * 20 for place in range(2000)]}
    bodies = [b'{"query": "q", "documents": [' + b"1," * MEGABYTE + b"1]}", b" " * 20 * MEGABYTE + b"{}"]
    while not ended.is_set():
        for body, seconds in ((many, 1.0), (bodies[0], 30.0), (bodies[1], 30.0)):
            try:
                stage.post(body, timeout=seconds)
            except Exception:  # a caller that hangs up
                time.sleep(0.05)


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
