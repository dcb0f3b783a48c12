"""What vCenters say to a key server under load, and what a refusal is called."""

from __future__ import annotations

from array import array
from typing import Any, cast

import pytest

from chaos.load.arrivals import Arrivals
from lab.load.vcenters import STANDING_KEYS, Vcenters
from lab.schema.errors import KeysteadError
from protocol.errors import Disconnected, TimedOut
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import Operation, ResultReason, ResultStatus
from protocol.kmip.message import ResponseItem
from services.keyservers.kmip_sessions import Dialogue

ORDER = ("get", "create", "activate", "locate", "destroy")


class Told:
    """A dialogue that writes down what it is asked for, and fails at the words of ``failing``."""

    def __init__(self, **failing: Exception) -> None:
        self.asked: list[tuple[str, str]] = []
        self._failing, self._keys = failing, 0

    def _done(self, what: str, uid: str = "") -> None:
        self.asked.append((what, uid))
        if what in self._failing:
            raise self._failing[what]

    async def create(self) -> str:
        self._done("create")
        self._keys += 1
        return f"key-{self._keys}"

    async def activate(self, uid: str) -> None:
        self._done("activate", uid)

    async def use(self, uid: str, *, activate: bool) -> None:
        assert not activate
        self._done("use", uid)

    async def run_operation(self, name: str, asked: Any, expected: type[Any]) -> None:
        self._done(name, getattr(asked, "unique_identifier", ""))


def vcenters(server: Told, *kinds: str) -> Vcenters:
    which = array("B", (ORDER.index(kind) for kind in kinds))
    at = array("d", range(len(kinds)))
    return Vcenters([cast(Dialogue, server)], Arrivals(ORDER, at, which, array("H", [0] * len(at))))


def refused(reason: ResultReason) -> OperationFailed:
    return OperationFailed(
        ResponseItem(
            operation=Operation.GET,
            result_status=ResultStatus.OPERATION_FAILED,
            result_reason=reason,
        )
    )


async def test_every_operation_has_a_key_of_its_own_and_the_state_that_it_needs() -> None:
    server = Told()
    made = vcenters(server, "activate", "destroy", "activate", "get", "create", "locate")
    told: list[tuple[int, int]] = []
    await made.prepare(lambda done, of: told.append((done, of)))
    assert made.made == STANDING_KEYS + 3 and told[-1] == (STANDING_KEYS + 3,) * 2
    active = {uid for what, uid in server.asked if what == "activate"}
    assert len(active) == STANDING_KEYS
    server.asked.clear()
    assert [await made.act(n) for n in range(6)] == [""] * 6
    said = dict(zip(range(6), server.asked, strict=True))
    changed = [said[n][1] for n in (0, 1, 2)]
    assert len(set(changed)) == 3 and not set(changed) & active
    assert said[1][0] == "Destroy" and said[3][0] == "use" and said[3][1] in active
    assert said[4] == ("create", "") and said[5][0] == "Locate"
    assert (made.made, made.destroyed) == (STANDING_KEYS + 4, 1)


async def test_a_failure_is_called_by_its_id() -> None:
    reasons = (ResultReason.PERMISSION_DENIED, "PermissionDenied")
    for error, name in (
        (refused(reasons[0]), reasons[1]),
        (TimedOut("no answer"), "TimedOut"),
        (Disconnected("closed"), "Disconnected"),
    ):
        made = vcenters(Told(use=error), "get")
        await made.prepare(lambda done, of: None)
        assert await made.act(0) == name


async def test_a_server_that_makes_no_keys_has_no_load() -> None:
    made = vcenters(Told(create=refused(ResultReason.PERMISSION_DENIED)), "activate")
    with pytest.raises(KeysteadError, match="before the load began: OperationFailed: Permission"):
        await made.prepare(lambda done, of: None)
