"""Host encryption mode: every cell of the table, and what a reboot makes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from protocol.errors import AlreadyExists, InvalidState, ProductError
from protocol.terms import HostCryptoState as S
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.crypto_manager import disable
from services.esxi.crypto_mode import Trigger as T
from services.esxi.crypto_mode import next_state, state_after_boot

I, P, X = S.INCAPABLE, S.PREPARED, S.PENDING_INCAPABLE  # noqa: E741
NO, OTHER = InvalidState, AlreadyExists

TABLE: dict[S, dict[T, S | type[ProductError]]] = {
    I: {T.PREPARE: P, T.ENABLE: NO, T.ENABLE_OTHER: NO, T.CHANGE_KEY: NO, T.DISABLE: I},
    P: {T.PREPARE: NO, T.ENABLE: S.SAFE, T.ENABLE_OTHER: S.SAFE, T.CHANGE_KEY: NO, T.DISABLE: I},
    S.SAFE: {
        T.PREPARE: NO,
        T.ENABLE: S.SAFE,
        T.ENABLE_OTHER: OTHER,
        T.CHANGE_KEY: S.SAFE,
        T.DISABLE: X,
    },
    X: {
        T.PREPARE: NO,
        T.ENABLE: S.SAFE,
        T.ENABLE_OTHER: S.SAFE,
        T.CHANGE_KEY: NO,
        T.DISABLE: NO,
    },
}


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("trigger", list(T))
def test_every_step(state: S, trigger: T) -> None:
    expected = TABLE[state][trigger]
    if isinstance(expected, S):
        assert next_state(state, trigger) is expected
    else:
        with pytest.raises(expected) as caught:
            next_state(state, trigger)
        assert (
            str(caught.value)
            == {
                NO: f"cannot {trigger.value}: the host is {state.value}",
                OTHER: "the host is safe with another host key",
            }[expected]
        )


@pytest.mark.parametrize(
    ("before", "with_key", "without_key"),
    [(I, I, I), (P, S.SAFE, P), (S.SAFE, S.SAFE, P), (X, I, I)],
)
def test_a_reboot(before: S, with_key: S, without_key: S) -> None:
    assert state_after_boot(before, host_key_at_hand=True) is with_key
    assert state_after_boot(before, host_key_at_hand=False) is without_key


@pytest.mark.parametrize(
    ("before", "records"),
    [(I, []), (P, [("crypto.mode", {"old": "prepared", "new": "incapable"})])],
)
async def test_a_mode_is_recorded_when_it_changes(
    before: S, records: list[tuple[str, dict[str, str]]]
) -> None:
    told: list[tuple[str, dict[str, str]]] = []
    host: Any = SimpleNamespace(
        mode=before,
        vms={},
        archive=SimpleNamespace(
            now=SimpleNamespace(host_key=None),
            change=lambda **fields: setattr(host, "mode", fields.get("crypto_state", host.mode)),
        ),
        keys=MagicMock(),
        key_sections=lambda: ConfigurationSection(0),
        save=AsyncMock(),
        node=SimpleNamespace(record=lambda kind, **fields: told.append((kind, fields))),
    )
    await disable(host)
    assert host.mode is I and told == records
