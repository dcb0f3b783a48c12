"""Every kind of fault through the Python client: seen to bite, listed, taken back, nothing left.

All of them in virtual time; on real processes those that are made of other things there (rules
in several processes, signals, a broker, TPMs, disks).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chaos.faults import FAULTS
from lab.client import Lab
from lab.schema.commands import FaultInject, GetFaults, GetNodes
from lab.schema.errors import KeysteadError
from services.runtime.tpm.backends import missing_for_libtpms
from tests.chaos.bad_labs import values_of_example

pytestmark = pytest.mark.asyncio(loop_scope="module")
REAL = not missing_for_libtpms()

Case = tuple[str, dict[str, Any]]
REVERSIBLE: list[Case] = [
    ("link.cut", {"between": ["vcenter", "kms"]}),
    ("link.cut", {"between": ["vcenter", "esxi-001"], "dir": "to"}),
    ("link.cut", {"between": ["vcenter", "esxi-001"], "dir": "from"}),
    ("link.reset", {"between": ["vcenter", "kms"]}),
    ("link.stall", {"between": ["vcenter", "kms"], "dir": "to"}),
    ("proc.kill", {"on": "esxi-001"}),
    ("proc.pause", {"on": "esxi-002"}),
    ("host.power_loss", {"on": "esxi-001"}),
    ("host.boot_measure", {"on": "esxi-002", "secure_boot": False}),
    ("broker.restart", {}),
    ("link.delay", {"between": ["vcenter", "role:esxi"], "base": "300ms", "jitter": "20ms"}),
    ("link.loss", {"between": ["vcenter", "kms"], "p": "30%"}),
    ("link.dup", {"between": ["vcenter", "kms"], "p": "50%"}),
    ("host.reboot", {"on": "esxi-001"}),
    ("site.power_loss", {"site": "main"}),
    ("vcenter.down", {}),
    ("tpm.dead", {"on": "esxi-001"}),
    ("host.tpm_disabled", {"on": "esxi-002"}),
    ("host.exec_option_removed", {"on": "esxi-001"}),
    ("clock.skew", {"on": "esxi-001", "ahead": "10m"}),
    ("kms.reject", {"on": "kms", "reason": "Permission Denied"}),
    ("host.hostile", {"on": "esxi-001"}),
]
IRREVERSIBLE: list[tuple[str, dict[str, Any], str]] = [
    ("tpm.clear", {"on": "esxi-001"}, "encryptionRecoveryKey"),
    ("tpm.swap", {"on": "esxi-001"}, "encryptionRecoveryKey"),
    ("kms.key_state", {"vm": "vm-01", "state": "destroy"}, "keystead kms restore"),
    ("provider.delete", {}, "exactly the name kms-provider"),
]
OF_OTHER_LABS = {"kms.certificate", "kms.failover", "kms.rollback"}
OF_OTHER_LABS |= {"broker.down", "broker.route_cut"}
"""They need a bus of several servers (``tests/e2e/test_broker_down.py``), key servers with doors of
KMIP, or a group that replicates after the answer: ``tests/chaos/test_certificates.py``, and the
experiments of such groups."""
_LISTED = {case[0] for case in (*REVERSIBLE, *IRREVERSIBLE)} | OF_OTHER_LABS
REVERSIBLE += [
    (fault.kind, values_of_example(fault))
    for fault in FAULTS
    if fault.reversible and not fault.at_point and fault.kind not in _LISTED
]
"""A fault that is not listed is played by its example."""
ON_PROCESSES = 10  # so many of the first list are played there; of the second one all


class Labs:
    """One lab per mode, started when it is first asked for."""

    def __init__(self) -> None:
        self._open: dict[str, Lab] = {}

    async def get(self, mode: str) -> Lab:
        if mode not in self._open:
            options: dict[str, Any] = {"hosts": 2, "vms": 2, "key_persistence": True}
            lab = (
                Lab("lab", seed=3, tpm="libtpms", pace=60, **options)
                if mode == "lab"
                else Lab("sim", seed=3, **options)
            )
            self._open[mode] = await lab.__aenter__()
        return self._open[mode]

    async def close(self) -> None:
        for lab in self._open.values():
            await lab.__aexit__(None, None, None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def labs() -> AsyncIterator[Labs]:
    made = Labs()
    yield made
    await made.close()


def both(cases: list[Any]) -> list[Any]:
    """Every case in virtual time; those that differ there on real processes too."""
    real = pytest.mark.skipif(not REAL, reason=f"no real TPM: {missing_for_libtpms()}")
    found = []
    for number, case in enumerate(cases):
        name = "-".join([case[0], *(str(v) for v in case[1].values() if isinstance(v, str))])
        found.append(pytest.param("sim", *case, id=f"sim-{name}", marks=pytest.mark.sim))
        if cases is IRREVERSIBLE or number < ON_PROCESSES:
            marks = [pytest.mark.lab, pytest.mark.slow, real]
            found.append(pytest.param("lab", *case, id=f"lab-{name}", marks=marks))
    return found


async def listed(lab: Lab) -> list[tuple[str, str]]:
    return [(fault.id, fault.state) for fault in (await lab.do(GetFaults())).items]


async def peace(lab: Lab) -> None:
    """Nothing is listed, every node runs, and vCenter holds hosts and VMs again."""
    assert await listed(lab) == []
    states = {n.node: n.state for n in (await lab.do(GetNodes())).items}
    assert set(states.values()) == {"running"}, states
    seen: list[Any] = []
    for _ in range(80):
        hosts, vms = await lab.hosts(), await lab.vms()
        seen = [(h.host, h.connection, h.crypto_state) for h in hosts]
        seen += [(v.vm, v.connection, v.crypto) for v in vms]
        if {(connection, state) for _, connection, state in seen} == {
            ("connected", "safe"),
            ("connected", "unlocked"),
        }:
            return
        await lab.sleep(5)
    raise AssertionError(seen)


@pytest.mark.parametrize(("mode", "kind", "values"), both(REVERSIBLE))
async def test_it_bites_is_listed_and_goes(
    labs: Labs, mode: str, kind: str, values: dict[str, Any]
) -> None:
    lab = await labs.get(mode)
    if kind == "host.exec_option_removed":
        await lab.esx("esxi-001", "system settings kernel set -s execInstalledOnly -v TRUE")
    fault = await lab.fault(kind, **values)
    assert await listed(lab) == [(fault, "active")]
    report = await lab.heal()
    assert (report.healed, report.left) == ((fault,), ())
    await peace(lab)


@pytest.mark.parametrize(("mode", "kind", "values", "cure"), both(IRREVERSIBLE))
async def test_what_has_no_undo_stays_listed_with_its_cure_until_cured(
    labs: Labs, mode: str, kind: str, values: dict[str, Any], cure: str
) -> None:
    lab = await labs.get(mode)
    cut = await lab.cut("vcenter", "esxi-002")
    fault = await lab.fault(kind, **values)
    assert await listed(lab) == [(cut, "active"), (fault, "stays")]
    report = await lab.heal()
    assert report.healed == (cut,), "the reversible one beside it goes"
    assert [(left.id, left.reversible) for left in report.left] == [(fault, False)]
    assert cure in report.left[0].cure
    assert await listed(lab) == [(fault, "stays")]
    again = await lab.heal()
    assert again.healed == () and len(again.left) == 1
    cured = await lab.heal(with_cure=True)
    assert (cured.healed, cured.left) == ((fault,), ())
    await peace(lab)


@pytest.mark.parametrize(
    ("mode", "kind", "values"),
    [
        pytest.param("sim", *REVERSIBLE[0], marks=pytest.mark.sim),
        pytest.param("sim", *REVERSIBLE[4], marks=pytest.mark.sim),
        pytest.param("lab", *REVERSIBLE[0], marks=[pytest.mark.lab, pytest.mark.slow]),
        pytest.param("lab", *REVERSIBLE[4], marks=[pytest.mark.lab, pytest.mark.slow]),
    ],
)
async def test_a_lease_ends_it_by_itself(
    labs: Labs, mode: str, kind: str, values: dict[str, Any]
) -> None:
    if mode == "lab" and not REAL:
        pytest.skip("no real TPM")
    lab = await labs.get(mode)
    await lab.do(FaultInject(kind, values, id="leased", lease_s=150.0))
    assert await listed(lab) == [("leased", "active")]
    for _ in range(40):
        await lab.sleep(10)
        if not await listed(lab):
            break
    await peace(lab)


@pytest.mark.sim
async def test_what_cannot_act_is_refused_and_not_listed(labs: Labs) -> None:
    lab = await labs.get("sim")
    for kind, values, id in (
        ("link.cutt", {}, "KS-USE-002"),
        ("link.cut", {"between": ["vcenter", "kmss"]}, "KS-USE-002"),
        ("kms.key_state", {"keys": ["nobody"], "state": "destroy"}, "KS-CHAOS-106"),
    ):
        with pytest.raises(KeysteadError) as caught:
            await lab.fault(kind, **values)
        assert caught.value.id == id
    assert await listed(lab) == []
