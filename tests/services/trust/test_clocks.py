"""The wall clock of a service is wrong: what it issues, and what it takes (ATT-03, ATT-04)."""

from __future__ import annotations

from typing import Final

import pytest

from protocol.errors import ProductError, Unauthenticated
from protocol.messages.host.crypto import AttestHost
from protocol.messages.host.vms import HostCreateVm
from protocol.terms import NodeName, VmName
from protocol.trust import TrustAttestationStatus
from tests.services.esxi.rig import VM, A
from tests.services.trust.rig import AS1, AS2, KPS1, KPS2, TRUSTED, TrustRig

LEEWAY_S: Final = 60.0
LIFETIME_S: Final = 600.0
YEAR_S: Final = 365 * 86_400.0


@pytest.fixture
def up(rig: TrustRig) -> TrustRig:
    """A safe host; tokens are good for ten minutes."""
    rig.authority(knobs={"token_lifetime_s": LIFETIME_S})
    rig.trusted_host()
    rig.make_safe_trusted()
    rig.host().trust.tokens.clear()
    return rig


def skewed(rig: TrustRig, seconds: float, *nodes: NodeName) -> None:
    for node in nodes:
        rig.agent.machine(node).skew(seconds)


def new_vm(rig: TrustRig, name: str) -> ProductError | None:
    """A VM for which a service makes a key; why it was refused, if it was."""
    message = HostCreateVm(vm=VmName(name), blocks=8, provider=TRUSTED)
    try:
        rig.command(message)
    except ProductError as error:
        assert VmName(name) not in rig.host().vms
        return error
    return None


@pytest.mark.parametrize(
    ("issuers", "takers", "why"),
    [
        (LEEWAY_S - 1, 0, ""),
        (LEEWAY_S + 5, 0, "not valid yet"),
        (YEAR_S, 0, "not valid yet"),
        (0, -LEEWAY_S - 5, "not valid yet"),
        (1000, 1000, ""),
        (-LIFETIME_S, 0, ""),
        (-LIFETIME_S - LEEWAY_S - 5, 0, "expired"),
        (0, LIFETIME_S + LEEWAY_S + 5, "expired"),
        (-YEAR_S, 0, "expired"),
    ],
)
def test_a_token_is_good_as_far_as_clocks_agree(
    up: TrustRig, issuers: float, takers: float, why: str
) -> None:
    """By less than the leeway it is good all the same. When they are right again nothing is lost:
    the host attests anew, and has its key."""
    skewed(up, issuers, AS1, AS2)
    skewed(up, takers, KPS1, KPS2)
    error = new_vm(up, "skewed")
    if not why:
        assert error is None
    else:
        assert isinstance(error, Unauthenticated) and why in str(error)
        assert error.definite
        reports = up.command(AttestHost()).reports
        assert TrustAttestationStatus.ATTESTED in {report.status for report in reports}
    skewed(up, 0, AS1, AS2, KPS1, KPS2)
    assert new_vm(up, "right-again") is None


@pytest.mark.parametrize("node", [AS1, AS2, KPS1, KPS2])
def test_another_service_whose_clock_is_right_serves(up: TrustRig, node: NodeName) -> None:
    """Whose token was not taken is asked after the others."""
    skewed(up, LIFETIME_S + 2 * LEEWAY_S, node)
    assert new_vm(up, "vm") is None
    assert new_vm(up, "another") is None


def test_a_token_ends_early_for_who_takes_it_and_the_host_attests_once_more(up: TrustRig) -> None:
    """The host counts ten minutes; a service whose clock runs ahead counts less."""
    assert new_vm(up, "first") is None
    passed = len(up.kinds("trust.attested"))
    skewed(up, LIFETIME_S - 100, KPS1, KPS2)
    up.sleep(200)
    skewed(up, LIFETIME_S - 100, AS1, AS2)
    up.connect()
    assert new_vm(up, "second") is None
    assert len(up.kinds("trust.attested")) == passed + 1


def test_the_clock_of_the_host_is_nobodys_matter(up: TrustRig) -> None:
    for seconds in (YEAR_S, -YEAR_S):
        skewed(up, seconds, A)
        assert new_vm(up, f"vm-{int(seconds > 0)}") is None
        up.sleep(2 * LIFETIME_S)
        up.connect()
    assert new_vm(up, VM) is None
