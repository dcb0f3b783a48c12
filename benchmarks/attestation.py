"""Attestations with a token: hosts with real TPMs on one side, a service on the other."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.staging import Stage, need_tpm, stage
from protocol.crypto.tokens import Signer, new_certificate
from protocol.messages.agent import NodeSpec
from protocol.messages.attestation import (
    AttestationConfiguration,
    QueryAttestationService,
    SetAttestationConfiguration,
)
from protocol.messages.host.crypto import (
    AttestHost,
    ExportBaseImage,
    ExportTpmEndorsement,
    SetTrustedConfiguration,
)
from protocol.messages.host.session import OpenSession
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, Role
from protocol.trust import (
    ServiceRecord,
    TpmCaCertificate,
    TrustAttestationStatus,
    TrustedConfiguration,
    TrustedPrincipal,
)
from services.runtime.session import SessionCommands

SERVICE = NodeName("attestation-1")
GROUP = "bench"
ISSUER = "bench"
LIMIT_S = 60.0


class Attestations(Benchmark):
    """Every step that a host goes through, over the bus: credential, quote, log, token.

    Hosts are in two processes, the service in one of its own; each attests again as soon as it is
    attested. A TPM's counters are durable at the service before each token.
    """

    name: ClassVar[str] = "attestations"
    measures: ClassVar[str] = "attestations with a token, hosts and service together, libtpms"
    unit: ClassVar[str] = "1/s"
    bar: ClassVar[Bar] = Bar(Sense.AT_LEAST, 100.0)

    async def run(self, report: Report) -> Figures:
        need_tpm()
        hosts, count = (2, 20) if self.quick else (16, 1600)
        service = NodeSpec(
            node=SERVICE, role=Role.ATTESTATION, config={"vcenter": NodeName("vcenter")}
        )
        async with stage(
            hosts=hosts, pack=hosts // 2, knobs={"boot_step_s": 0.0}, beside=(service,)
        ) as staged:
            names = [NodeName(f"esxi-{n + 1:03d}") for n in range(hosts)]
            await staged.lab.power_on(SERVICE)
            for name in names:
                await staged.lab.power_on(name)
            commands = await _configure_trust(staged, names)
            await _attest(staged, commands, hosts)  # warm
            begun = time.perf_counter()
            each = await _attest(staged, commands, count)
            taken = time.perf_counter() - begun
        return Figures(
            len(each) / taken,
            {
                "p50_ms": statistics.median(each) * 1000,
                "p99_ms": sorted(each)[int(len(each) * 0.99)] * 1000,
            },
        )


async def _configure_trust(staged: Stage, hosts: list[NodeName]) -> dict[NodeName, SessionCommands]:
    """Service and hosts configured; the sessions in which hosts are commanded."""
    secret = KeyMaterial(os.urandom(32))
    sts = Signer(secret, new_certificate(ISSUER, secret, os.urandom(16), time.time()))
    found = await staged.port.request(hosts[0], ExportTpmEndorsement(), within_s=LIMIT_S)
    exported = await staged.port.request(hosts[0], ExportBaseImage(), within_s=LIMIT_S)
    configuration = AttestationConfiguration(
        revision="1",
        group=GROUP,
        ca_certificates=(TpmCaCertificate(name="maker", chain=found.ca_chain),),
        base_images=(exported.image,),
        principals=(
            TrustedPrincipal(name="bench", issuer=ISSUER, certificates=(sts.certificate,)),
        ),
    )
    order = SetAttestationConfiguration(configuration=configuration)
    await staged.port.request(SERVICE, order, within_s=LIMIT_S)
    info = await staged.port.request(SERVICE, QueryAttestationService(), within_s=LIMIT_S)
    record = ServiceRecord(node=SERVICE, trusted_ca=info.trusted_ca, group=GROUP)
    commands = {}
    for host in hosts:
        commands[host] = made = SessionCommands("bench")
        opened = OpenSession(session=made.session, vcenter_boot=staged.life.boot)
        await staged.port.request(host, opened, within_s=LIMIT_S)
        applied = TrustedConfiguration(
            revision="1",
            attestation_services=(record,),
            voucher=sts.voucher(ISSUER, host, time.time()),
        )
        command = made.stamp(SetTrustedConfiguration(configuration=applied))
        await staged.port.request(host, command, within_s=LIMIT_S)
    return commands


async def _attest(
    staged: Stage, commands: dict[NodeName, SessionCommands], count: int
) -> list[float]:
    """Seconds of each of ``count`` attestations, all hosts at a time."""
    left, each = count, []

    async def one_after_another(host: NodeName) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            begun = time.perf_counter()
            command = commands[host].stamp(AttestHost())
            answer = await staged.port.request(host, command, within_s=LIMIT_S)
            each.append(time.perf_counter() - begun)
            if answer.reports[0].status is not TrustAttestationStatus.ATTESTED:
                raise CannotRun(f"{host} is not attested: {answer.reports[0].messages}")

    async with asyncio.TaskGroup() as group:
        for host in commands:
            group.create_task(one_after_another(host))
    return each
