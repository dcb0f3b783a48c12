"""Errors for people come out of a worker process as they are."""

from __future__ import annotations

import pickle

from chaos.errors import ChaosError
from lab.schema.errors import KeysteadError


def test_they_are_pickled_whole() -> None:
    error = pickle.loads(pickle.dumps(KeysteadError("KS-CHAOS-205", "seen", "do that")))  # noqa: S301
    assert (error.id, str(error), error.fix, error.exit_code) == (
        "KS-CHAOS-205",
        "seen",
        "do that",
        5,
    )
    chaos = pickle.loads(pickle.dumps(ChaosError("KS-CHAOS-103", "still there")))  # noqa: S301
    assert (chaos.id, chaos.text) == ("KS-CHAOS-103", "still there") and chaos.fix
