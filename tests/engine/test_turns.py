"""Who has had least goes first, and one long job holds up no short ones."""

from slimrank.engine.turns import MOST_IDLE, QUANTUM_SECONDS, Turns


def served(turns: Turns[str], callers: dict[str, str], seconds: float, count: int) -> list[str]:
    """Let so many turns of so many seconds pass, no job ever at its end; return whose they were."""
    found = []
    for _ in range(count):
        job, had = turns.pop()
        found.append(job)
        turns.give_back(callers[job], job, had + seconds)
        turns.charge(callers[job], seconds)
    return found


def test_callers_share_the_time_however_many_jobs_they_have() -> None:
    turns: Turns[str] = Turns()
    callers = {f"many{number}": "many" for number in range(9)} | {"one": "one"}
    for job, caller in callers.items():
        turns.add(caller, job)
    assert served(turns, callers, 0.3, 20).count("one") == 10


def test_who_comes_back_has_saved_nothing_up_and_comes_next() -> None:
    turns: Turns[str] = Turns()
    callers = {"busy": "busy", "back": "back"}
    turns.add("busy", "busy")
    served(turns, callers, 0.3, 100)
    turns.add("back", "back")
    assert served(turns, callers, 0.3, 9).count("back") in (4, 5)
    assert turns.pop()[0] in callers


def test_a_job_keeps_its_place_for_a_second_and_then_goes_behind_the_callers_others() -> None:
    turns: Turns[str] = Turns()
    callers = {"long": "", "short": ""}
    for job in callers:
        turns.add("", job)
    slices = round(QUANTUM_SECONDS / 0.25)
    assert served(turns, callers, 0.25, 2 * slices) == ["long"] * slices + ["short"] * slices


def test_the_job_that_peek_shows_is_the_next_one() -> None:
    turns: Turns[int] = Turns()
    assert turns.peek() is None and not turns
    for job in range(3):
        turns.add(str(job), job)
    assert [(turns.peek(), turns.pop()[0]) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    assert not turns


def test_callers_who_left_are_forgotten() -> None:
    turns: Turns[str] = Turns()
    turns.add("patient", "patient")
    for number in range(3 * MOST_IDLE):
        turns.add(str(number), str(number))
        job, _ = turns.pop()
        turns.charge(job, 0.1)
        if job == "patient":
            turns.add("patient", "patient")
    assert len(turns._lines) <= MOST_IDLE + 5
    while turns:
        turns.charge(turns.pop()[0], 0.1)
    assert not turns._lines
