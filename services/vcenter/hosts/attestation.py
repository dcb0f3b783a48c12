"""vCenter's own attestation of every host with a TPM: at each connection, and on request (ATT-09).

It runs beside step B8 and never delays it: an opened session requests an attestation, and workers
process the requests in order. Each asks for a quote over a fresh nonce. If the attestation key is
not the recorded one, the TPM must open a credential, which proves that the key is in the TPM with
that endorsement key. ``tpm_judgement`` (pure) decides; record, status and event are one
transaction.
"""

from __future__ import annotations

import hmac

import msgspec

from protocol.errors import ProductError, SaveFailed
from protocol.messages.host import ActivateTpmCredential, QueryTpmAttestationReport
from protocol.terms import NodeName
from protocol.tpm.credential import make_credential
from protocol.tpm.public import PublicError, public_name
from protocol.tpm.structures import PCR_ATTESTED, PublicArea
from services.runtime.ports import Clock, Rng
from services.vcenter import events
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.session import UNANSWERED, HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.hosts.tpm_judgement import (
    Judgement,
    TpmEvidence,
    attestation_of,
    examine,
    failure_judgement,
    is_news,
    judge,
)
from services.vcenter.inventory import Edit, Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import DatabaseTable, HostRow, TpmRecord

AT_ONCE = 2  # hosts whose TPMs are attested at the same time
NONCE_BYTES = 32
SECRET_BYTES = 32


class HostAttestation:
    """Attests TPMs in the order of the queue; the result is stored in the host's row."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        rng: Rng,
        inventory: Inventory,
        sessions: HostSessions,
        passes: PassQueue,
    ) -> None:
        self._node, self._clock, self._rng = node, clock, rng
        self._inventory, self._sessions, self._passes = inventory, sessions, passes

    def start(self) -> None:
        """Process the requests from now on."""
        for number in range(AT_ONCE):
            self._node.background(f"attestation:{number}", self._serve())

    async def _serve(self) -> None:
        while True:
            order = await self._passes.take()
            self._passes.begin_pass(order.host)
            self._passes.end_pass(order.host, whole=await self._look(order.host))

    async def _look(self, host: NodeName) -> bool:
        """Attest one host. False when the host did not answer: the next contact repeats it."""
        session = self._sessions.find_connected(host)
        if session is None:
            return False  # the next session requests it again
        name, known = session.name, self._tpm_record_of(host)
        try:
            judgement = await self._judge(session, known)
        except UNANSWERED:
            self._passes.cut_short(host)
            return False
        if judgement is not None and session.name == name:
            try:
                await self._commit(host, known, judgement)
            except SaveFailed as error:  # vCenter's own failure: the next contact repeats it
                self._node.record(
                    "inventory.save_failed", level="warning", host=host, reason=str(error)
                )
                self._passes.cut_short(host)
                return False
        return True

    async def _judge(self, session: HostSession, known: TpmRecord | None) -> Judgement | None:
        """The judgement of the host's TPM; None for a host that never had one."""
        if session.summary is None or not session.summary.tpm_present:
            return (
                None if known is None else failure_judgement(known, "the recorded TPM is not there")
            )
        nonce = self._rng.token(NONCE_BYTES)
        try:
            report = await session.ask(
                QueryTpmAttestationReport(nonce=nonce, selection=PCR_ATTESTED)
            )
        except UNANSWERED:
            raise
        except ProductError as error:
            return failure_judgement(known, str(error))
        seen = examine(report, nonce)
        if isinstance(seen, str):
            return failure_judgement(known, seen)
        if _proved(known, seen) or await self._opens(session, report.ek, report.ak):
            return judge(known, seen)
        return failure_judgement(
            known, "its attestation key is not of the TPM with that endorsement key"
        )

    async def _opens(self, session: HostSession, ek: PublicArea, ak: PublicArea) -> bool:
        """Whether the host's TPM holds both keys: only then it can open the credential."""
        secret = self._rng.token(SECRET_BYTES)
        try:
            credential = make_credential(ek, secret, public_name(ak))
            opened = await session.ask(ActivateTpmCredential(credential=credential))
        except UNANSWERED:
            raise
        except (ProductError, PublicError):
            return False
        return hmac.compare_digest(opened.secret, secret)

    def _tpm_record_of(self, host: NodeName) -> TpmRecord | None:
        row = self._inventory.hosts.get(host)
        return None if row is None else row.tpm

    async def _commit(self, host: NodeName, known: TpmRecord | None, judgement: Judgement) -> None:
        row = self._inventory.hosts.get(host)
        if row is None or row.tpm != known:
            return  # the record was cleared meanwhile, and another attestation is requested
        after = attestation_of(judgement, self._clock.now())
        drafts = []
        if judgement.event is not None and is_news(row.attestation, judgement):
            drafts.append(events.attestation_failed(host, judgement.event, judgement.flaw))
        self._node.record(
            "host.attested",
            level="warning" if judgement.flaw else "info",
            host=host,
            status=after.status.value,
            reason=judgement.flaw,
        )

        def note_judgement(row: HostRow | None) -> HostRow | None:
            if row is None or row.tpm != known:
                return row
            return msgspec.structs.replace(row, tpm=judgement.record, attestation=after)

        await self._inventory.commit(Edit(DatabaseTable.HOST, host, note_judgement), events=drafts)


def _proved(known: TpmRecord | None, seen: TpmEvidence) -> bool:
    """Whether this pair of keys was proved to be of one TPM before."""
    return known is not None and (known.ek, known.ak) == (seen.ek, seen.ak)
