"""What one sender may ask of one node: so many at once, so many a second, and others as before."""

from __future__ import annotations

from services.runtime.real.bus import BURST, RATE, RequestShares


def test_a_burst_then_the_rate_and_each_sender_for_itself() -> None:
    now = 0.0
    shares = RequestShares(lambda: now)
    most = round(BURST)
    assert all(shares.allows("a") for _ in range(most))
    assert not shares.allows("a") and shares.allows("b")
    now = 1 / RATE
    assert shares.allows("a") and not shares.allows("a")
    now += 0.1
    assert [shares.allows("a") for _ in range(round(RATE / 10) + 1)].count(True) == RATE / 10
    now += 3600
    assert [shares.allows("a") for _ in range(most + 1)].count(True) == most, "none is saved up"
