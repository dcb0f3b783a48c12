"""Plays about a trusted key provider, on the lab ``trusted``, with attestations by hand at the
consoles of a trusted host and of a service.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from lab.client import Lab
from lab.conformance import bench
from lab.conformance.bench import (
    Bench,
    all_run,
    expect_refusal,
    holds,
    start_refused,
    starts,
    stays,
    works,
)
from lab.conformance.providers import HOSTS
from lab.conformance.secrecy import RECOVERY
from lab.core import LabCore
from lab.schema import commands as c
from lab.schema.answers import MachineState
from protocol.errors import InvalidState, ProductError
from protocol.messages.attestation import (
    AttestationChallenge,
    BeginAttestation,
    FinishAttestation,
    QueryAttestationService,
)
from protocol.messages.host.crypto import (
    ActivateTpmCredential,
    AttestHost,
    ExportTpmEndorsement,
    QueryTpmAttestationReport,
    TpmAttestationReport,
)
from protocol.messages.keyprovider import (
    GenerateWrappedKey,
    KeyProviderConfiguration,
    SetKeyProviderConfiguration,
)
from protocol.terms import HostCryptoState, KeyId, NodeName, ProviderId
from protocol.tpm.structures import PCR_ATTESTED
from protocol.trust import (
    AcceptedAttestationService,
    FindingCode,
    KeyServerRecord,
    TpmIdentity,
    TrustedKeyProvider,
    TrustItem,
)

_OF_THE_CONSOLE: Final = (FindingCode.PRINCIPAL, FindingCode.ENDORSEMENT_KEY)
"""Nobody vouches for who asks there, and the TPM is another host's than theirs."""


class BroughtEvidence(StrEnum):
    """What is brought to the service, in the place of fresh evidence."""

    FRESH = "fresh"
    OTHER_NONCE = "other nonce"
    REPLAYED = "replayed"
    FINISHED = "finished"


class AttestationAnswer(msgspec.Struct, frozen=True):
    """The word of the services that were asked: whether any attests, and all that they say."""

    attested: bool
    said: tuple[str, ...]


async def attest(lab: LabCore, host: str) -> AttestationAnswer:
    """The host attests now, as its administrator has it do."""
    done = await lab.ask(NodeName(host), AttestHost(), within_s=60.0)
    statuses = [report.status.value for report in done.reports]
    said = [text for report in done.reports for text in report.messages]
    return AttestationAnswer("attested" in statuses, tuple(dict.fromkeys(said)))


async def findings(lab: LabCore, host: str, service: str, evidence: str) -> list[str]:
    """The codes of what ``service`` finds in that evidence of the host's TPM, but what it
    finds in who asks; for a context that was finished already: ``refused``."""
    kind = BroughtEvidence(evidence)
    asked, report = await _begin_attestation(lab, host, service)
    if kind is BroughtEvidence.OTHER_NONCE:
        report = await _fetch_quote(lab, host, bytes(len(asked.nonce)))
    first = await _finish_attestation(lab, host, service, asked, report)
    if kind is BroughtEvidence.FINISHED:
        try:
            return await _finish_attestation(lab, host, service, asked, report)
        except InvalidState:
            return ["refused"]
    if kind is BroughtEvidence.REPLAYED:
        again, _ = await _begin_attestation(lab, host, service)
        return await _finish_attestation(lab, host, service, again, report)
    return first


async def _begin_attestation(
    lab: LabCore, host: str, service: str
) -> tuple[AttestationChallenge, TpmAttestationReport]:
    """A challenge, and the host's answer to it."""
    ek = await lab.ask(NodeName(host), ExportTpmEndorsement())
    ak = (await _fetch_quote(lab, host, b"")).ak
    begin = BeginAttestation(identity=TpmIdentity(public_area=ek.public_area), ak=ak)
    asked = await lab.ask(NodeName(service), begin)
    return asked, await _fetch_quote(lab, host, asked.nonce)


async def _fetch_quote(lab: LabCore, host: str, nonce: bytes) -> TpmAttestationReport:
    asked = QueryTpmAttestationReport(nonce=nonce, selection=PCR_ATTESTED)
    return await lab.ask(NodeName(host), asked)


async def _finish_attestation(
    lab: LabCore,
    host: str,
    service: str,
    asked: AttestationChallenge,
    report: TpmAttestationReport,
) -> list[str]:
    opened = await lab.ask(NodeName(host), ActivateTpmCredential(credential=asked.credential))
    finish = FinishAttestation(
        context=asked.context,
        secret=opened.secret,
        quote=report.quote,
        event_log=report.event_log,
    )
    found = (await lab.ask(NodeName(service), finish)).findings
    return [one.code.value for one in found if one.code not in _OF_THE_CONSOLE]


async def ask_for_key(lab: LabCore, service: str, provider: str, token: bytes) -> str:
    """What a Key Provider Service answers who brings this token at its console: the name of the
    error and its text, or ``a key``."""
    wanted = GenerateWrappedKey(token=token, provider=ProviderId(provider), num_of_bytes=32)
    try:
        await lab.ask(NodeName(service), wanted)
    except ProductError as error:
        return f"{type(error).__name__}: {error}"
    return "a key"


async def serve_group(
    lab: LabCore,
    services: list[str],
    group: str,
    attesters: list[str],
    provider: str,
    primary: str,
    servers: list[str],
) -> None:
    """Have Key Provider Services serve another group, whose tokens the same Attestation Services
    would sign: a token that is of the group before is foreign now."""
    accepted = []
    for name in attesters:
        told = await lab.ask(NodeName(name), QueryAttestationService())
        accepted.append(
            AcceptedAttestationService(
                node=NodeName(name), certificate=told.certificate, group=group
            )
        )
    made = TrustedKeyProvider(
        provider=ProviderId(provider),
        primary_key_id=KeyId(primary),
        servers=tuple(KeyServerRecord(node=NodeName(one), trusted=True) for one in servers),
    )
    configuration = KeyProviderConfiguration(
        revision=f"of {group}",
        group=group,
        providers=(made,),
        attestation_services=tuple(accepted),
    )
    for name in services:
        await lab.ask(NodeName(name), SetKeyProviderConfiguration(configuration=configuration))


PROVIDER, SERVER = "trusted-provider", "kms"
ATTESTERS, KEY_SERVICES = ("attestation-1", "attestation-2"), ("keyprovider-1", "keyprovider-2")
TOKEN_S = 300
LATE_S = 1.5
"""Lab seconds that a request is under way, less than half of what a host waits."""
LAB = "trusted"


async def without_vcenters(bench: Bench) -> str:
    """A11: no vCenter is on the way of a trusted key [TA-06, KPS-00]."""
    host = HOSTS[0]
    async with bench.lab(LAB) as lab:
        vms = await lab.vms()
        await lab.fault("vcenter.down")
        await lab.power_loss(*HOSTS)
        await lab.sleep(300)
        await stays(lab, HOSTS, HostCryptoState.SAFE, 10, "after its reboot without any vCenter")
        await all_run(lab, vms, "after its host's reboot without any vCenter", guests=False)
        here = [vm.vm for vm in vms if str(vm.host) == host]
        await lab.do(c.VmOff(tuple(here), host, on_host=True))
        for done in (await lab.do(c.VmOn(tuple(here), host, on_host=True))).items:
            holds(not done.error, f"{done.vm} is not powered on without any vCenter: {done.error}")
        await lab.heal()
        await lab.sleep(60)
        await all_run(lab, vms, "when both vCenters are back")
    return f"{len(vms)} VMs run again on {len(HOSTS)} hosts, with both vCenters down"


async def tokens(bench: Bench) -> str:
    """A10: a key is given for a token in force, of this group, and for nothing else [TA-08]."""
    host, other = HOSTS
    knobs = {"token_lifetime_s": TOKEN_S, "token_leeway_s": 0}
    async with bench.lab(LAB, knobs=knobs) as lab:
        await starts(lab, (await _new(lab, "good", host)), "with a token in force")
        for token in (b"", b"no token"):
            said = await lab.beside(ask_for_key, KEY_SERVICES[0], PROVIDER, token)
            holds(
                "Unauthenticated" in said, f"asked with {token!r}, {KEY_SERVICES[0]} gives: {said}"
            )
        await _let_token_expire(lab, host)
        await _foreign_group(lab, host)
        await _refuse_host(lab, other)
    return "401 and no key for none, no good one, an expired and a foreign one; none when refused"


async def _let_token_expire(lab: Lab, host: str) -> None:
    """A token that expires on its way; the host gets a new one for its next try."""
    await lab.sleep(TOKEN_S + 10)
    began = await lab.beside(bench.now_s)
    await _new(lab, "renewed", host)  # it attests anew for it
    for service in KEY_SERVICES:
        values = {"between": [host, service], "base": f"{LATE_S:g}s"}
        await lab.do(c.FaultInject("link.delay", values))
    since = await lab.beside(bench.now_s)
    await lab.sleep(began + TOKEN_S - LATE_S / 3 - since)
    await lab.do(c.VmCreate("late", host=host, encrypted=True))
    await lab.heal()
    told = await lab.beside(bench.list_reasons, "keyprovider.refused", since)
    holds(any(one.startswith("401") and "expired" in one for one in told), f"expired: {told}")


async def _foreign_group(lab: Lab, host: str) -> None:
    """Its services serve another group from now on."""
    trust = lab.topology.trust
    holds(trust is not None, "the lab has no Trust Authority")
    primary = (await lab.do(c.KmsKeyCreate(SERVER))).key_id
    values = (list(KEY_SERVICES), "another", list(ATTESTERS), PROVIDER, str(primary), [SERVER])
    since = await lab.beside(bench.now_s)
    await lab.beside(serve_group, *values)
    create = c.VmCreate("foreign", host=host, encrypted=True)
    await expect_refusal(lab, create, "", "a new key with a token of another group")
    told = await lab.beside(bench.list_reasons, "keyprovider.refused", since)
    holds(any(one.startswith("401") and "group" in one for one in told), f"foreign: {told}")


async def _refuse_host(lab: Lab, host: str) -> None:
    await _forget_image(lab)
    await lab.power_loss(host)
    await lab.sleep(300)
    judged = await lab.beside(attest, host)
    holds(not judged.attested, f"{host} is attested, and its image is not known")
    create = c.VmCreate("refused", host=host, encrypted=True)
    await expect_refusal(lab, create, "", "a new key for a host that is refused")


async def keep_unattested(bench: Bench) -> str:
    """A29: an unattested host keeps what runs, starts nothing encrypted, and takes VMs that are
    not [ATT-06]."""
    host = HOSTS[0]
    async with bench.lab(LAB, vms=4, knobs={"token_lifetime_s": TOKEN_S}) as lab:
        on, off = [vm for vm in await lab.vms() if str(vm.host) == host]
        await lab.vm_off(off.vm)
        await starts(lab, off.vm, f"while {host} is attested")
        await lab.vm_off(off.vm)
        await _forget_image(lab)
        await lab.sleep(TOKEN_S)
        judged = await lab.beside(attest, host)
        holds(not judged.attested, f"{host} is attested, and its image is not known")
        await all_run(lab, (on,), "on a host that is not attested")
        await start_refused(lab, off.vm, "attest", "on a host that is not attested")
        await works(lab, on.vm, "after another VM was refused")
        clear = await lab.do(c.VmCreate("clear", host=host, encrypted=False))
        await starts(lab, clear.vm, "not encrypted, on a host that is not attested")
    return "what runs goes on, a power-on is refused, a VM that is not encrypted is made and starts"


async def evidence_refused(bench: Bench) -> str:
    """A30: each kind of wrong evidence is refused, and named [ATT-02]."""
    host, other = HOSTS
    async with bench.lab(LAB) as lab:
        await _attests(lab, host, "")
        for evidence, wanted in (
            (BroughtEvidence.FRESH, []),
            (BroughtEvidence.OTHER_NONCE, ["quote"]),
            (BroughtEvidence.REPLAYED, ["quote"]),
            (BroughtEvidence.FINISHED, ["refused"]),
        ):
            found = await lab.beside(findings, host, ATTESTERS[0], evidence.value)
            holds(found == wanted, f"{evidence.value} evidence is answered with {found}")
        await lab.do(c.TrustSettings(False, True))
        await _attests(lab, host, "certificate")
        await lab.do(c.TrustSettings(True, False))
        await _attests(lab, host, "")
        await lab.do(c.TrustRemove(TrustItem.ENDORSEMENT_KEY, host))
        await _attests(lab, host, "endorsement key")
        await _without_secure_boot(lab, other)
        await _forget_image(lab)
        await _attests(lab, other, "image")
    return (
        "refused: unknown endorsement key, certificate of no known CA, unknown image, Secure Boot "
        "off, other nonce, replayed quote, finished context"
    )


async def _without_secure_boot(lab: Lab, host: str) -> None:
    """Only a recovery key lets it boot so; then it is refused."""
    typed = (await lab.esx(host, RECOVERY)).split()[-1]
    changed = await lab.fault("host.boot_measure", on=host, secure_boot=False)
    await lab.do(c.HostPowerOff((host,)))
    on = c.HostPowerOn((host,), {"encryptionRecoveryKey": typed})
    (row,) = (await lab.do(on)).items
    holds(
        row.machine is MachineState.RUNNING, f"{host} is {row.machine.value} with Secure Boot off"
    )
    await _attests(lab, host, "Secure Boot")
    await lab.heal(changed)
    await lab.do(c.HostReboot((host,)))
    await _attests(lab, host, "")


async def _attests(lab: Lab, host: str, why_not: str) -> None:
    """The host is attested, or refused for that."""
    judged = await lab.beside(attest, host)
    said = "; ".join(judged.said)
    if not why_not:
        holds(judged.attested, f"{host} is not attested: {said}")
        return
    holds(not judged.attested, f"{host} is attested, and should be refused for its {why_not}")
    holds(why_not in said, f"{host} is refused for another cause than its {why_not}: {said}")


async def _new(lab: Lab, name: str, host: str) -> str:
    return (await lab.do(c.VmCreate(name, host=host, encrypted=True))).vm


async def _forget_image(lab: Lab) -> None:
    items = (await lab.do(c.GetTrustAuthority())).items
    for item in items:
        if item.kind == TrustItem.BASE_IMAGE:
            await lab.do(c.TrustRemove(TrustItem.BASE_IMAGE, item.name))
