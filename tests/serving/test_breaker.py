"""The breaker between a gateway and its workers."""

from slimrank.serving.breaker import Breaker


def test_the_breaker_opens_on_silence_only_and_lets_one_probe_through() -> None:
    now = [0.0]
    breaker = Breaker(failures_to_open=3, silence_seconds=1.0, pause_seconds=1.0, clock=lambda: now[0])
    for _ in range(10):
        breaker.failed()
    assert not breaker.is_open  # many at once, but within no time
    breaker.succeeded()
    for _ in range(3):
        now[0] += 0.6
        breaker.failed()
    assert breaker.is_open
    assert not breaker.may_probe()
    now[0] += 1.0
    assert [breaker.may_probe(), breaker.may_probe()] == [True, False]
    breaker.failed()
    assert breaker.is_open
    now[0] += 1.0
    assert breaker.may_probe()
    breaker.succeeded()
    assert not breaker.is_open
