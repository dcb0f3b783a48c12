"""Two real vCenters, two pairs of services, a key server and a host; nothing is configured.

Administrators speak at the console of a vCenter. Unlike ``TrustRig`` no part of it is scripted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from protocol.authorization import ADMINISTRATOR
from protocol.errors import ProductError
from protocol.messages.agent import Firmware, NodeRunState, NodeSpec, TpmBackend
from protocol.messages.base import Reply, Request
from protocol.messages.host.crypto import ExportBaseImage, ExportTpmEndorsement
from protocol.messages.kms.keys import CreateKey
from protocol.messages.vcenter.inventory import AddHost
from protocol.messages.vcenter.providers import RegisterKmsCluster
from protocol.messages.vcenter.trust import (
    CreateTrustedKeyProvider,
    EnableTrustAuthority,
    ExportPrincipal,
    ExportServicesInformation,
    ImportServicesInformation,
    ImportToTrustAuthority,
    QueryTrustAuthority,
    QueryTrustedClusters,
    ServicesInformation,
    SetTpmSettings,
    SetTrustedAdmin,
    SetTrustedState,
    TrustAuthorityState,
    TrustedClusters,
    TrustKeyServers,
)
from protocol.subjects import parse_link
from protocol.terms import ClusterName, KeyId, ManagementType, NodeName, ProviderHealth, Role
from protocol.trust import BaseImage, TrustedEndorsementKey
from services.catalog import recipe as recipe_of
from services.runtime.node import Recipe
from tests.services.esxi.rig import FAST, A, B
from tests.services.sim_rig import SimRig
from tests.services.trust.rig import AS1, AS2, KMS, KPS1, KPS2, LIST_MODE, TRUSTED

R = TypeVar("R", bound=Reply)

TA, WORKLOAD = NodeName("ta-vcenter"), NodeName("vcenter")
TA_CLUSTER, CLUSTER = ClusterName("ta-cluster"), ClusterName("cluster-a")
PERIOD_S = 30.0
"""Between two looks of a vCenter at what services and hosts have."""
ENABLE = EnableTrustAuthority(
    cluster=TA_CLUSTER, attestation_services=(AS1, AS2), key_provider_services=(KPS1, KPS2)
)
SETTINGS = SetTpmSettings(settings=LIST_MODE)


class Administration(SimRig):
    """See the module; the methods that are steps have their number (``docs/trusted.md``)."""

    def __init__(self, seed: int = 1, **knobs: Any) -> None:
        self.carried: Callable[[str], None] = lambda sender: None
        super().__init__(seed, tap=self._tap)
        self.services: dict[NodeName, Any] = {}
        kps = {node: {"role": "kps"} for node in (KPS1, KPS2)}
        under_ta = {"vcenter": TA}
        nodes: dict[NodeName, tuple[Role, dict[str, Any]]] = {
            TA: (Role.VCENTER, {}),
            WORKLOAD: (Role.VCENTER, {}),
            KMS: (Role.KMS, {"identities": kps}),
            AS1: (Role.ATTESTATION, under_ta),
            AS2: (Role.ATTESTATION, under_ta),
            KPS1: (Role.KEYPROVIDER, under_ta),
            KPS2: (Role.KEYPROVIDER, under_ta),
        }
        for node, (role, config) in nodes.items():
            at = {"remediation_interval_s": PERIOD_S} if role is Role.VCENTER else {}
            self.add_node(NodeSpec(node=node, role=role, config=config, knobs={**at, **knobs}))
            assert self.power_on(node).state is NodeRunState.RUNNING

    def _tap(self, subject: str, reply: str, payload: bytes) -> None:
        found = parse_link(subject)
        if found is not None:
            self.carried(found.src)

    def recipe(self, spec: NodeSpec) -> Recipe:
        made = recipe_of(spec)

        def make(node: Any, ports: Any) -> Any:
            self.services[spec.node] = service = made.build(node, ports)
            return service

        return Recipe(made.knobs, make)

    # ---- asking -------------------------------------------------------------------------------

    async def ask(self, node: NodeName, message: Request[R], user: str = "") -> R:
        """At the console of ``node``."""
        reply = await self.agent.machine(node).runner.ask(message, 120, user)
        return reply  # type: ignore[return-value]

    def do(self, message: Request[R], node: NodeName = TA) -> R:
        return self.run(self.ask(node, message))

    def refused(self, message: Request[Any], node: NodeName = TA, user: str = "") -> ProductError:
        async def tried() -> ProductError:
            try:
                await self.ask(node, message, user)
            except ProductError as error:
                return error
            raise AssertionError(f"{type(message).__name__} was not refused")

        return self.run(tried())

    def skew(self, node: NodeName, seconds: float) -> None:
        """The wall clock of ``node`` is wrong by so much from now on."""
        self.agent.machine(node).skew(seconds)

    # ---- steps --------------------------------------------------------------------------------

    def admins(self) -> None:
        """1."""
        for node in (TA, WORKLOAD):
            self.do(SetTrustedAdmin(member=ADMINISTRATOR), node)

    def host(self) -> None:
        """A host with a TPM in the cluster that is to be trusted."""
        self.host_of(WORKLOAD, CLUSTER, A)

    def host_of(self, vcenter: NodeName, cluster: ClusterName, node: NodeName = B) -> None:
        """A machine with a TPM, added to a cluster."""
        spec = NodeSpec(
            node=node,
            role=Role.ESXI,
            tpm=TpmBackend.MODEL,
            vtpm=TpmBackend.MODEL,
            firmware=Firmware(secure_boot=True),
            knobs=dict(FAST),
            config={"vcenter": vcenter, "datastore": "datastore-1"},
        )
        self.add_node(spec)
        assert self.power_on(node).state is NodeRunState.RUNNING
        self.do(AddHost(host=node, cluster=cluster), vcenter)

    def principal(self) -> ImportToTrustAuthority:
        """3 and 6."""
        return ImportToTrustAuthority(principal=self.do(ExportPrincipal(), WORKLOAD).principal)

    def endorsement_key(self, node: NodeName = A) -> ImportToTrustAuthority:
        """4 and 7."""
        found = self.do(ExportTpmEndorsement(), node)
        entry = TrustedEndorsementKey(name=node, public_area=found.public_area)
        return ImportToTrustAuthority(endorsement_key=entry)

    def image(self, node: NodeName = A) -> BaseImage:
        """5."""
        return self.do(ExportBaseImage(), node).image

    def provider(self) -> CreateTrustedKeyProvider:
        """9, with a primary key of its own."""
        made = self.do(CreateKey(operation_id="primary", activate=True), KMS)
        return create(made.key_id)

    def services_information(self) -> ServicesInformation:
        """11."""
        return self.do(ExportServicesInformation())

    def ready(self) -> None:
        """All steps, in their order."""
        self.admins()
        self.host()
        self.do(ENABLE)
        self.do(SETTINGS)
        self.do(self.principal())
        self.do(self.endorsement_key())
        self.do(ImportToTrustAuthority(base_image=self.image()))
        self.do(self.provider())
        self.do(TrustKeyServers(provider=TRUSTED))
        self.do(ImportServicesInformation(services=self.services_information()), WORKLOAD)
        self.do(SetTrustedState(cluster=CLUSTER), WORKLOAD)
        self.do(REGISTER, WORKLOAD)

    # ---- looking ------------------------------------------------------------------------------

    def state(self) -> TrustAuthorityState:
        return self.do(QueryTrustAuthority())

    def trusted(self) -> TrustedClusters:
        return self.do(QueryTrustedClusters(), WORKLOAD)

    def well(self) -> bool:
        """Whether all services have what they are to have."""
        found = self.state()
        return not found.silent and {one.health for one in found.items} == {ProviderHealth.OK}

    def items(self) -> list[tuple[str, str]]:
        return [(one.kind, one.name) for one in self.state().items]


def create(primary: KeyId, *servers: NodeName) -> CreateTrustedKeyProvider:
    return CreateTrustedKeyProvider(
        provider=TRUSTED, primary_key_id=primary, servers=servers or (KMS,)
    )


REGISTER = RegisterKmsCluster(
    provider=TRUSTED,
    management_type=ManagementType.TRUST_AUTHORITY,
    servers=(),
    make_default=True,
)
