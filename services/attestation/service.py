"""The Attestation Service's handlers, who may send what, and the flow of an attestation (ATT-01):
the host names TPM and attestation key, gets a nonce and a credential that only that TPM opens,
and brings what was in it, a quote and its event log. All evidence is judged (``policy``).
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Final

from protocol.crypto.tokens import Signer
from protocol.errors import InvalidArgument, InvalidState, NoPermission
from protocol.messages import attestation as m
from protocol.messages.attestation import BeginAttestation, FinishAttestation
from protocol.messages.base import Request
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, Role
from protocol.tpm.credential import make_credential
from protocol.tpm.public import PublicError, check_attestation_key, public_name
from protocol.trust import AttestationFinding, ItemDigest, TrustedEndorsementKey, item
from services.attestation import identities
from services.attestation.config import AttestationServiceConfig
from services.attestation.configuration import DATABASE, SCHEMA, AttestationStore, check
from services.attestation.documents import NUMBER_SIZE, BegunAttestation, Contexts, Subject, issue
from services.attestation.knobs import AttestationNode
from services.attestation.policy import SELECTION, Challenge, Examined, HostEvidence, examine
from services.runtime.node_certificates import load_signer
from services.runtime.ports import Ports
from services.runtime.service import Halted, Peer, Service, serves

_FOR_ALL: Final = (BeginAttestation, FinishAttestation)


def admit(message: Request[Any], sender: NodeName, vcenter: NodeName, *, local: bool) -> None:
    """``NoPermission`` when the table refuses the message."""
    if local or isinstance(message, _FOR_ALL) or (vcenter and sender == vcenter):
        return
    raise NoPermission(f"{sender} is not the vCenter of this Attestation Service")


SECRET_SIZE: Final = 32
NONCE_SIZE: Final = 32
_VOUCHER_LIMIT: Final = 2048


class AttestationService(Service):
    """One Attestation Service (``NodeSpec.config`` as ``AttestationServiceConfig``)."""

    role: ClassVar[Role] = Role.ATTESTATION
    node: AttestationNode
    signer: Signer
    store: AttestationStore
    contexts: Contexts
    configuration: m.AttestationConfiguration | None

    def __init__(
        self, node: AttestationNode, ports: Ports, config: AttestationServiceConfig
    ) -> None:
        super().__init__(node, ports)
        self.config = config
        self._registered: frozenset[bytes] = frozenset()

    async def start(self) -> None:
        """Open the store; ``Halted`` when it is damaged."""
        try:
            self.signer = await load_signer(self.disk, self.rng, self.clock, self.node.name)
            self.store = AttestationStore(await self.disk.database(DATABASE, SCHEMA))
            self._enforce(await self.store.configuration())
        except OSError as error:
            reason = error.strerror or error
            raise Halted(f"Attestation Service {self.node.name} does not serve: {reason}") from None
        self.contexts = Contexts(KeyMaterial(self.rng.token(32)))

    def accept(self, message: Request[Any], peer: Peer) -> None:
        """See ``access``."""
        admit(message, peer.node, self.config.vcenter, local=peer.local)

    # ---- hosts ------------------------------------------------------------------------------

    @serves(m.BeginAttestation)
    async def begin(self, message: m.BeginAttestation, peer: Peer) -> m.AttestationChallenge:
        """Steps 1 and 2. A key that could sign data from outside of its TPM is not accepted as
        attestation key."""
        self._in_force()
        if len(message.voucher) > _VOUCHER_LIMIT:
            raise InvalidArgument(f"voucher: at most {_VOUCHER_LIMIT} bytes")
        ek = identities.ek_of(message.identity)
        try:
            check_attestation_key(message.ak)
        except PublicError as error:
            raise InvalidArgument(f"ak: {error}") from None
        secret = self.rng.token(SECRET_SIZE)
        try:
            credential = make_credential(ek, secret, public_name(message.ak))
        except PublicError as error:
            raise InvalidArgument(f"identity: {error}") from None
        within_s = self.node.knobs.attestation_within_s
        begun = BegunAttestation(
            self.rng.token(NUMBER_SIZE),
            ek,
            message.identity.certificate,
            message.ak,
            message.voucher,
            self.rng.token(NONCE_SIZE),
            secret,
            self.clock.monotonic() + within_s,
        )
        context = self.contexts.seal_context(begun, peer.node, peer.boot, self.rng.token(12))
        if len(context) > m.CONTEXT_LIMIT:
            raise InvalidArgument("identity: the certificate is too long")
        return m.AttestationChallenge(
            context=context,
            nonce=begun.nonce,
            selection=SELECTION,
            credential=credential,
            within_s=within_s,
        )

    @serves(m.FinishAttestation)
    async def finish(self, message: m.FinishAttestation, peer: Peer) -> m.AttestationReport:
        """Steps 3 to 5."""
        configuration = self._in_force()
        begun = self.contexts.open_context(
            message.context, peer.node, peer.boot, self.clock.monotonic()
        )
        at = self.clock.now()
        evidence = HostEvidence(
            host=peer.node,
            voucher=begun.voucher,
            ak=begun.ak,
            secret=message.secret,
            quote=message.quote,
            event_log=message.event_log,
            log_truncated=message.log_truncated,
        )
        examined = examine(configuration, evidence, Challenge(begun.nonce, begun.secret))
        findings = await self._all_findings(configuration, peer.node, begun, examined, at)
        if findings or examined.quoted is None:
            codes = [finding.code.value for finding in findings]
            self.node.record("attestation.failed", level="warning", host=peer.node, findings=codes)
            return m.AttestationReport(attested=False, findings=findings, attested_at=at)
        until = at + self.node.knobs.token_lifetime_s
        documents = issue(
            self.signer,
            self.node.name,
            configuration.group,
            Subject(
                peer.node,
                begun.ek,
                examined.image,
                examined.secure_boot,
                examined.quoted.reset_count,
            ),
            message.types,
            at=at,
            until=until,
            number=self.rng.token(NUMBER_SIZE),
        )
        self.node.record("attestation.passed", host=peer.node, image=examined.image)
        return m.AttestationReport(
            attested=True,
            documents=documents,
            attested_at=at,
            attested_until=until,
            base_image=examined.image,
        )

    async def _all_findings(
        self,
        configuration: m.AttestationConfiguration,
        host: NodeName,
        begun: BegunAttestation,
        examined: Examined,
        at: float,
    ) -> tuple[AttestationFinding, ...]:
        """Add the findings of the endorsement key, and of the counters if the TPM is trusted;
        counters of unknown TPMs are not kept."""
        of_key = identities.findings(
            configuration, self._registered, begun.ek, begun.certificate, at
        )
        found = (*of_key, *examined.findings)
        if of_key or examined.quoted is None:
            return found
        image = "" if found else examined.image
        digest = hashlib.sha256(begun.ek.raw).digest()
        self.contexts.take(digest, begun)
        return (*found, *await self.store.count(digest, host, examined.quoted, image, at))

    # ---- the Trust Authority vCenter ---------------------------------------------------------

    @serves(m.SetAttestationConfiguration, turn=lambda _: "configuration")
    async def configure(
        self, message: m.SetAttestationConfiguration, peer: Peer
    ) -> m.AttestationConfigured:
        """Replace the whole configuration. A TPM whose endorsement key has a new name or
        registration starts again: its counters are forgotten."""
        new = message.configuration
        warnings = check(new)
        before = self.configuration
        known = (
            set() if before is None else {_registration(entry) for entry in before.endorsement_keys}
        )
        forget = tuple(
            hashlib.sha256(identities.key_of_entry(entry).raw).digest()
            for entry in new.endorsement_keys
            if _registration(entry) not in known
        )
        await self.store.configure(new, forget)
        self._enforce(new)
        self.node.record("attestation.configured", revision=new.revision)
        for text in warnings:
            self.node.record("attestation.warning", level="warning", text=text)
        return m.AttestationConfigured(revision=new.revision, warnings=warnings)

    @serves(m.QueryAttestationConfiguration)
    async def query_configuration(
        self, message: m.QueryAttestationConfiguration, peer: Peer
    ) -> m.AttestationConfigurationState:
        """The configuration in force, as digests, and when each image was last used."""
        now = self.configuration
        if now is None:
            return m.AttestationConfigurationState(revision="", group="", items=(), images=())
        used = await self.store.images()
        return m.AttestationConfigurationState(
            revision=now.revision,
            group=now.group,
            items=items(now),
            images=tuple(
                m.ImageUse(version=image.version, last_attested_time=used.get(image.version))
                for image in now.base_images
            ),
            settings=now.settings,
        )

    @serves(m.QueryAttestationService)
    async def query_service(
        self, message: m.QueryAttestationService, peer: Peer
    ) -> m.AttestationServiceInfo:
        """The service's information, for export."""
        return m.AttestationServiceInfo(
            service=self.node.name,
            certificate=self.signer.certificate,
            trusted_ca=(self.signer.certificate,),
            group="" if self.configuration is None else self.configuration.group,
        )

    def _enforce(self, configuration: m.AttestationConfiguration | None) -> None:
        self.configuration = configuration
        keys = () if configuration is None else configuration.endorsement_keys
        self._registered = frozenset(identities.key_of_entry(entry).raw for entry in keys)

    def _in_force(self) -> m.AttestationConfiguration:
        if self.configuration is None:
            raise InvalidState(f"{self.node.name} is not configured")
        return self.configuration


def _registration(entry: TrustedEndorsementKey) -> tuple[str, int]:
    return entry.name, entry.registered


def items(configuration: m.AttestationConfiguration) -> tuple[ItemDigest, ...]:
    """The digest of each item of a configuration, for health (HLT-01)."""
    return (
        *(item("caCertificate", ca.name, ca) for ca in configuration.ca_certificates),
        *(item("endorsementKey", key.name, key) for key in configuration.endorsement_keys),
        *(item("baseImage", image.version, image) for image in configuration.base_images),
        *(item("principal", found.name, found) for found in configuration.principals),
        item("settings", "tpm", configuration.settings),
    )
