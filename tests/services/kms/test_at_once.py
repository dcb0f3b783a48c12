"""Two who change the same at a key server's console at once: one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.errors import InvalidArgument
from protocol.messages.kms import administration as m
from protocol.terms import ResultReason
from services.kms.access.rejections import MOST
from services.kms.endpoints import kmip_clients
from services.kms.service import KmsService
from tests.services.kms.pair_rig import A, PairRig
from tests.services.kms.test_edited import certificate

pytestmark = pytest.mark.sim


@pytest.fixture
def rig() -> Iterator[PairRig]:
    made = PairRig()
    yield made
    made.close()


def together(rig: PairRig, *messages: Any) -> list[Any]:
    """What each is answered, errors too, when all are said at once."""

    async def all_of_them() -> list[Any]:
        said = [rig.console(A, message) for message in messages]
        return await asyncio.gather(*said, return_exceptions=True)

    return rig.run(all_of_them())


def rejection(name: str) -> m.RejectRequests:
    reason = ResultReason.GENERAL_FAILURE.value
    return m.RejectRequests(name=name, reason=reason, operations=("Get",))


def test_a_rejection_that_several_end_is_ended_for_each(rig: PairRig) -> None:
    rig.at(A, rejection("sealed"))
    answers = together(rig, *[m.EndRejection(name="sealed")] * 3)
    assert answers == [m.Rejections(items=())] * 3
    rows = rig.at_rest(A, "SELECT key_id FROM audit WHERE operation = 'End Rejection'")
    assert rows == [("sealed",)]


def test_the_limit_of_rejections_holds(rig: PairRig) -> None:
    answers = together(rig, *[rejection(f"n{number}") for number in range(MOST + 5)])
    assert sum(isinstance(one, InvalidArgument) for one in answers) == 5
    assert len(rig.at(A, m.QueryRejections()).items) == MOST


def test_whoever_is_moved_while_being_revoked_stays_revoked(rig: PairRig) -> None:
    service = rig.agent.machine(A).runner.service
    assert isinstance(service, KmsService)
    service.admission = rig.run(service.kmip_identities())
    service.own = rig.run(
        kmip_clients.load_certificate(service.disk, service.rng, service.clock, "kms-1", 30)
    )
    for number in range(1, 9):  # whichever comes first
        trust = m.TrustIdentity(certificate=certificate(number), role="owner", scope="a")
        digest = next(one.digest for one in rig.at(A, trust).clients if one.name == f"c{number}")
        together(
            rig,
            m.RevokeIdentity(digest=digest),
            m.ScopeIdentity(digest=digest, role="", scope="b"),
        )
        [found] = [one for one in rig.at(A, m.QueryIdentities()).clients if one.digest == digest]
        assert (found.revoked, found.scope) == (True, "b")
