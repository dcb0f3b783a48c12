"""What a command names is not there, or not as it says: it is refused, and nothing is done."""

from __future__ import annotations

import msgspec
import pytest

from lab.cli.options import Options
from lab.cli.results import print_answer
from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import FaultLeft
from lab.schema.errors import KeysteadError
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("command", [c.VmOn, c.VmOff])
async def test_a_vm_that_is_on_another_host_is_told(
    lab: Lab, command: type[c.VmOn] | type[c.VmOff]
) -> None:
    error = await refused(lab, command(("vm-01",), host="esxi-002"))
    assert error.id == "KS-USE-002" and "vm-01 is on esxi-001" in str(error)
    assert len((await lab.do(command((), host="esxi-002"))).items) == 1


@pytest.mark.parametrize("what", ["vm.running=NOBODY", "host.connected=esxi-001,NOBODY"])
async def test_nobody_is_waited_for(lab: Lab, what: str) -> None:
    with pytest.raises(KeysteadError, match=r"there is no \w+ NOBODY") as caught:
        await lab.wait_for(what)
    assert caught.value.id == "KS-USE-003"


async def test_a_fault_that_may_still_come_is_waited_for(lab: Lab) -> None:
    with pytest.raises(KeysteadError) as caught:
        await lab.wait_for("fault.active=later", within_s=5)
    assert caught.value.id == "KS-WAIT-001"


@pytest.mark.parametrize(
    ("with_cure", "code", "outcome"), [(False, 0, "stays: it has no undo"), (True, 1, "NOT CURED")]
)
async def test_a_cure_that_does_not_help_is_a_failure(
    lab: Lab, capsys: pytest.CaptureFixture[str], with_cure: bool, code: int, outcome: str
) -> None:
    left = FaultLeft(id="f", kind="tpm.clear", reversible=False, seen="in lockout", cure="wait")
    command = c.Heal((), all=True, with_cure=with_cure)
    report = msgspec.structs.replace(await lab.do(command), left=(left,))
    assert print_answer(command, report, Options()) == code
    told = capsys.readouterr()
    assert outcome in told.out and "f: cure: wait" in told.err
    assert ("error KS-CHAOS-103: f: in lockout" in told.err) is with_cure


async def test_a_native_provider_without_backup_says_why_it_makes_no_key(lab: Lab) -> None:
    await lab.do(c.ProviderCreate("nkp"))
    found = await lab.do(c.DescribeProvider("nkp"))
    reason = found.reasons[0]
    assert (reason.rule, reason.cure) == ("NKP-05", "keystead provider export nkp")


# ---- a Trust Authority ------------------------------------------------------------------------


async def test_what_an_administrator_of_a_trust_authority_does_twice_or_by_mistake() -> None:
    async with Lab(mode="sim", topology="trusted", hosts=1, vms=0, seed=3) as lab:
        error = await refused(lab, c.TrustRegister("nobody"))
        assert error.id == "KS-USE-002" and "trusted-provider" in str(error)
        assert [p.provider for p in (await lab.do(c.GetProviders())).items] == ["trusted-provider"]
        assert (await lab.do(c.TrustRegister("trusted-provider"))).default
        for _ in range(2):  # what is there already stays, and hosts have what is desired
            done = await lab.do(c.TrustSetup())
            assert [(host.health, host.details) for host in done.items] == [("OK", ())]
        await lab.do(c.UserSet("alice", "ReadOnly"))
        await lab.do(c.TrustAdmin("alice"))
        refusal = await refused(lab, c.TrustRenewCertificate(), "alice")
        assert "alice lacks CertificateManagement.Administer" in str(refusal)
        await lab.do(c.TrustRenewCertificate())
        assert (await lab.do(c.GetTrustedHosts())).stale_principal
