"""A whole Trust Authority in the simulated world: key server, two pairs of services, hosts.

The node ``vcenter`` stands for both vCenters: it configures the services, commands hosts, and has
the identity that vouches for them. It carries no key.
"""

from __future__ import annotations

from typing import Any

import pytest

from protocol.crypto.tokens import Signer, new_certificate
from protocol.messages.agent import Firmware, NodeRunState, NodeSpec, TpmBackend
from protocol.messages.attestation import (
    AttestationConfiguration,
    QueryAttestationService,
    SetAttestationConfiguration,
)
from protocol.messages.base import Request
from protocol.messages.host.crypto import (
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    ExportBaseImage,
    ExportTpmEndorsement,
    SetProviders,
    SetTrustedConfiguration,
)
from protocol.messages.host.session import ProviderRef
from protocol.messages.host.vms import HostCreateVm, HostPowerOnVm
from protocol.messages.keyprovider import (
    KeyProviderConfiguration,
    QueryKeyProviderService,
    SetKeyProviderConfiguration,
)
from protocol.messages.kms.keys import CreateKey
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    ManagementType,
    NodeName,
    ProviderId,
    Role,
    VmName,
)
from protocol.trust import (
    AcceptedAttestationService,
    BaseImage,
    KeyServerRecord,
    ServiceRecord,
    TpmSettings,
    TrustedConfiguration,
    TrustedEndorsementKey,
    TrustedKeyProvider,
    TrustedPrincipal,
)
from services.catalog import recipe as recipe_of
from services.runtime.node import Recipe
from services.runtime.tpm.backends import missing_for_libtpms
from tests.services.esxi.rig import FAST, VCENTER, VM, A, Rig

KMS = NodeName("kms-1")
AS1, AS2 = NodeName("attestation-1"), NodeName("attestation-2")
KPS1, KPS2 = NodeName("keyprovider-1"), NodeName("keyprovider-2")
TRUSTED = ProviderId("trusted-provider")
GROUP = "group-1"
ISSUER = "https://vcenter/sts"
BACKENDS = [
    TpmBackend.MODEL,
    pytest.param(
        TpmBackend.LIBTPMS,
        marks=pytest.mark.skipif(
            bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}"
        ),
    ),
]
LIST_MODE = TpmSettings(require_endorsement_keys=True, require_certificate_validation=False)


class TrustRig(Rig):
    """See the module; ``authority()`` brings everything but hosts up."""

    longest_s = 200_000.0

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed)
        secret = KeyMaterial(b"sts of the workload vCenter".ljust(32, b"."))
        self.sts = Signer(secret, new_certificate("sts", secret, bytes(16), 1.0))
        self.keys: dict[str, TrustedEndorsementKey] = {}
        self.images: dict[str, BaseImage] = {}
        self.primary = KeyId("")
        self.revisions = 0

    def recipe(self, spec: NodeSpec) -> Recipe:
        """Every node but vCenter is the product's own."""
        if spec.role in (Role.VCENTER, Role.ESXI):
            return super().recipe(spec)
        made = recipe_of(spec)

        def make(node: Any, ports: Any) -> Any:
            self.services[spec.node] = service = made.build(node, ports)
            return service

        return Recipe(made.knobs, make)

    # ---- building -----------------------------------------------------------------------------

    def authority(self, knobs: dict[str, Any] | None = None) -> None:
        """vCenter, a key server with a primary key, and two pairs of services."""
        self.add_vcenter()
        self.power_on(VCENTER)
        identities = {kps: {"role": "kps"} for kps in (KPS1, KPS2)}
        nodes = [NodeSpec(node=KMS, role=Role.KMS, config={"identities": identities})]
        config = {"vcenter": VCENTER}
        for names, role in (((AS1, AS2), Role.ATTESTATION), ((KPS1, KPS2), Role.KEYPROVIDER)):
            nodes += [
                NodeSpec(node=name, role=role, config=config, knobs=knobs or {}) for name in names
            ]
        for spec in nodes:
            self.add_node(spec)
            assert self.power_on(spec.node).state is NodeRunState.RUNNING
        made = self.console(CreateKey(operation_id="primary", activate=True), KMS)
        self.primary = made.key_id

    def trusted_host(
        self,
        node: NodeName = A,
        *,
        knobs: dict[str, Any] | None = None,
        firmware: Firmware | None = None,
        tpm: TpmBackend = TpmBackend.MODEL,
        **config: Any,
    ) -> None:
        """A host, up; its endorsement key and base image known, its configuration applied."""
        self.up(
            node, knobs=knobs, firmware=firmware or Firmware(secure_boot=True), tpm=tpm, **config
        )
        self.register(node)
        self.configure_services()
        self.apply(node)

    def register(self, node: NodeName = A) -> None:
        """Export the host's endorsement key and base image, for the next configuration."""
        found = self.console(ExportTpmEndorsement(), node)
        entry = TrustedEndorsementKey(name=node, public_area=found.public_area)
        self.keys[node] = entry
        self.import_image(node)

    def import_image(self, node: NodeName = A) -> None:
        image = self.console(ExportBaseImage(), node).image
        self.images[image.version] = image

    def principal(self) -> TrustedPrincipal:
        certificates = (self.sts.certificate,)
        return TrustedPrincipal(name="workload", issuer=ISSUER, certificates=certificates)

    def attestation_configuration(self, **changes: Any) -> AttestationConfiguration:
        self.revisions += 1
        fields: dict[str, Any] = {
            "revision": f"r{self.revisions}",
            "group": GROUP,
            "endorsement_keys": tuple(self.keys.values()),
            "base_images": tuple(self.images.values()),
            "principals": (self.principal(),),
            "settings": LIST_MODE,
        }
        return AttestationConfiguration(**{**fields, **changes})

    def key_provider_configuration(self, **changes: Any) -> KeyProviderConfiguration:
        self.revisions += 1
        provider = TrustedKeyProvider(
            provider=TRUSTED,
            primary_key_id=self.primary,
            servers=(KeyServerRecord(node=KMS, trusted=True),),
        )
        fields: dict[str, Any] = {
            "revision": f"r{self.revisions}",
            "group": GROUP,
            "providers": (provider,),
            "attestation_services": tuple(self.issuer(name) for name in (AS1, AS2)),
        }
        return KeyProviderConfiguration(**{**fields, **changes})

    def issuer(self, name: NodeName, group: str = GROUP) -> AcceptedAttestationService:
        info = self.ask(name, QueryAttestationService())
        return AcceptedAttestationService(node=name, certificate=info.certificate, group=group)

    def configure_services(self, **changes: Any) -> None:
        """Both pairs, with what was registered; ``changes`` of the attestation's configuration."""
        for name in (AS1, AS2):
            configuration = self.attestation_configuration(**changes)
            self.ask(name, SetAttestationConfiguration(configuration=configuration))
        for name in (KPS1, KPS2):
            made = self.key_provider_configuration()
            self.ask(name, SetKeyProviderConfiguration(configuration=made))

    def trusted_configuration(self, node: NodeName = A, **changes: Any) -> TrustedConfiguration:
        self.revisions += 1
        services = {
            name: self.ask(name, QueryAttestationService()).trusted_ca for name in (AS1, AS2)
        } | {name: self.ask(name, QueryKeyProviderService()).trusted_ca for name in (KPS1, KPS2)}
        records = {
            name: ServiceRecord(node=name, trusted_ca=ca, group=GROUP)
            for name, ca in services.items()
        }
        fields: dict[str, Any] = {
            "revision": f"r{self.revisions}",
            "attestation_services": (records[AS1], records[AS2]),
            "key_provider_services": (records[KPS1], records[KPS2]),
            "providers": (TRUSTED,),
            "voucher": self.sts.voucher(ISSUER, node, 1.0),
        }
        return TrustedConfiguration(**{**fields, **changes})

    def apply(self, node: NodeName = A, **changes: Any) -> None:
        configuration = self.trusted_configuration(node, **changes)
        self.command(SetTrustedConfiguration(configuration=configuration), node)
        ref = ProviderRef(provider_id=TRUSTED, management_type=ManagementType.TRUST_AUTHORITY)
        self.command(SetProviders(providers=(ref,)), node)

    # ---- asking -------------------------------------------------------------------------------

    def ask(self, node: NodeName, message: Request[Any], sender: NodeName = VCENTER) -> Any:
        """As ``sender``, over the bus."""
        return self.run(self.services[sender].bus.request(node, message, within_s=30))

    def refused(self, node: NodeName, message: Request[Any], sender: NodeName = VCENTER) -> Any:
        return self.refusal(self.services[sender].bus.request(node, message, within_s=30))

    # ---- stories ------------------------------------------------------------------------------

    def make_safe_trusted(self, node: NodeName = A, key_id: str = "") -> CryptoKeyId:
        """Encryption mode, with a host key that the host has had made (or that one)."""
        self.command(CryptoManagerHostPrepare(), node)
        key = CryptoKeyId(KeyId(key_id), TRUSTED)
        self.command(CryptoManagerHostEnable(key=key), node)
        found = self.summary(node).crypto_key_id
        assert found is not None
        return found

    def trusted_vm(self, vm: VmName = VM, node: NodeName = A, *, on: bool = True) -> CryptoKeyId:
        """A VM whose key the host has had made; running or not."""
        self.command(HostCreateVm(vm=vm, blocks=8, provider=TRUSTED), node)
        if on:
            self.command(HostPowerOnVm(vm=vm), node)
        return self.vm(vm, node).keys[0]

    def stop_services(self, *nodes: NodeName) -> None:
        for node in nodes:
            self.power_off(node, "stop")

    def start_services(self, *nodes: NodeName) -> None:
        for node in nodes:
            self.power_on(node)


__all__ = ["FAST", "TrustRig"]
