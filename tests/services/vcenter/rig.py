"""The real vCenter in the simulated world, among scripted peers; and ways to look at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from protocol.authorization import Privilege
from protocol.errors import ProductError
from protocol.events import EventTypeId
from protocol.messages.agent import (
    NodeSpec,
)
from protocol.messages.base import Reply, Request
from protocol.messages.vcenter.inventory import (
    AddAuthorizationRole,
    AddHost,
    HostInfo,
    ListEvents,
    ListHosts,
    SetEntityPermissions,
    VcEvent,
)
from protocol.messages.vcenter.providers import KmipServer, RegisterKmsCluster
from protocol.messages.vcenter.vms import CreateVm, EncryptVm, ListVms, PowerOnVm, VmInfo
from protocol.subjects import parse_link
from protocol.terms import ClusterName, CryptoKeyId, NodeName, ProviderId, Role, VmName
from services.knobs import knobs_of
from services.runtime.node import Recipe
from services.runtime.ports import Ports
from services.runtime.service import Service
from services.vcenter.authorization.privileges import SYSTEM_ROLES
from services.vcenter.config import vcenter_config
from services.vcenter.service import VcenterService
from services.vcenter.vcenter import VCenter
from tests.services.sim_rig import SimRig
from tests.services.vcenter.computed import check_index
from tests.services.vcenter.peers import (
    VCENTER,
    HostRecord,
    ScriptedHost,
    ScriptedKms,
    ServerRecord,
)

T = TypeVar("T")
R = TypeVar("R", bound=Reply)

A, B, C = NodeName("esxi-001"), NodeName("esxi-002"), NodeName("esxi-003")
KMS = NodeName("kms")
CLUSTER = ClusterName("cluster-1")
P, Q = ProviderId("kms-provider"), ProviderId("second-provider")
VM = VmName("vm-01")


class Rig(SimRig):
    """One simulated lab. ``sent``: (sender, receiver, message) of every request on the bus."""

    def __init__(self, seed: int = 1, config: dict[str, Any] | None = None, **knobs: Any) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.replies: list[tuple[str, str]] = []
        super().__init__(seed, tap=self._tap)
        self.hosts: dict[NodeName, HostRecord] = {}
        self.servers: dict[NodeName, ServerRecord] = {}
        self.services: dict[NodeName, Service] = {}
        self.knobs, self.config = knobs, config or {}
        self.wrap: Callable[[Ports], Ports] = lambda ports: ports  # of vCenter's next life
        self._operations = 0
        self.add(VCENTER, Role.VCENTER)

    def _tap(self, subject: str, reply: str, payload: bytes) -> None:
        parsed = parse_link(subject)
        if parsed is None:
            return
        if parsed.reply:
            self.replies.append((parsed.src, parsed.dst))
        else:
            self.sent.append((parsed.src, parsed.dst, parsed.rest))

    def recipe(self, spec: NodeSpec) -> Recipe:
        def make(node: Any, ports: Any) -> Service:
            made: Service
            match spec.role:
                case Role.VCENTER:
                    made = VcenterService(node, self.wrap(ports), vcenter_config(spec.config))
                case Role.KMS:
                    made = ScriptedKms(node, ports, self.servers[spec.node])
                case Role.ESXI:
                    made = ScriptedHost(node, ports, self.hosts[spec.node])
            self.services[spec.node] = made
            return made

        return Recipe(knobs_of(spec.role, spec.knobs), make)

    # ---- running ------------------------------------------------------------------------------

    def add(self, node: NodeName, role: Role) -> None:
        if role is Role.KMS:
            self.servers.setdefault(node, ServerRecord())
        if role is Role.ESXI:
            self.hosts.setdefault(node, HostRecord())
        config = self.config if role is Role.VCENTER else {}
        spec = NodeSpec(node=node, role=role, knobs=self.knobs, config=config)
        self.add_node(spec)
        self.power_on(node)

    def reboot(self, node: NodeName, way: str = "crash") -> None:
        self.power_off(node, way)
        self.power_on(node)

    # ---- asking vCenter -----------------------------------------------------------------------

    async def ask(self, message: Request[R], within_s: float = 120, user: str = "") -> R:
        reply = await self.agent.machine(VCENTER).runner.ask(message, within_s, user)
        return reply  # type: ignore[return-value]

    def do(self, message: Request[R], user: str = "") -> R:
        return self.run(self.ask(message, user=user))

    def refused(self, message: Request[Any], user: str = "") -> ProductError:
        async def tried() -> ProductError:
            try:
                await self.ask(message, user=user)
            except ProductError as error:
                return error
            raise AssertionError(f"{type(message).__name__} was not refused")

        return self.run(tried())

    def user(self, name: str, *lacking: Privilege, role: str = "Admin") -> str:
        """A user with all that ``role`` has but these privileges; its name."""
        if lacking:
            left = tuple(one for one in SYSTEM_ROLES[role] if one not in lacking)
            role = f"{role}-of-{name}"
            self.do(AddAuthorizationRole(role=role, privileges=left))
        self.do(SetEntityPermissions(principal=name, role=role))
        return name

    def operation(self) -> str:
        self._operations += 1
        return f"rig-{self._operations}"

    # ---- stories ------------------------------------------------------------------------------

    def provider(
        self, name: ProviderId = P, servers: tuple[NodeName, ...] = (KMS,), default: bool = False
    ) -> None:
        for server in servers:
            if server not in self.servers:
                self.add(server, Role.KMS)
        self.do(
            RegisterKmsCluster(
                provider=name,
                servers=tuple(KmipServer(name=s, node=s) for s in servers),
                make_default=default,
            )
        )

    def host(self, *names: NodeName, cluster: ClusterName = CLUSTER) -> None:
        for name in names:
            if name not in self.hosts or name not in self.services:
                self.add(name, Role.ESXI)
            self.do(AddHost(host=name, cluster=cluster))

    def vm(self, name: VmName = VM, host: NodeName = A, *, encrypted: bool = True) -> VmInfo:
        self.do(CreateVm(operation_id=self.operation(), vm=name, cluster=CLUSTER, host=host))
        if encrypted:
            self.do(EncryptVm(operation_id=self.operation(), vm=name))
            self.sleep(2)  # the other hosts of the cluster get the key meanwhile
        return self.vm_info(name)

    def up(self, *hosts: NodeName) -> None:
        """A provider and these hosts, connected."""
        self.provider()
        self.host(*(hosts or (A,)))

    # ---- looking ------------------------------------------------------------------------------

    @property
    def vcenter(self) -> VCenter:
        """What the tasks of vCenter's present life work with."""
        return self.service.vcenter

    @property
    def service(self) -> VcenterService:
        service = self.services[VCENTER]
        assert isinstance(service, VcenterService)
        return service

    def vm_info(self, name: VmName = VM) -> VmInfo:
        return next(vm for vm in self.do(ListVms()).vms if vm.vm == name)

    def host_info(self, name: NodeName = A) -> HostInfo:
        return next(host for host in self.do(ListHosts()).hosts if host.host == name)

    def events(self, after: int = 0) -> list[VcEvent]:
        return list(self.do(ListEvents(after=after)).events)

    def mark(self) -> int:
        """The sequence of the latest event."""
        found = self.events()
        return found[-1].sequence if found else 0

    def ids(self, after: int = 0) -> list[EventTypeId]:
        return [event.event for event in self.events(after)]

    def key_of(self, name: VmName = VM) -> CryptoKeyId:
        key = self.vm_info(name).key
        assert key is not None
        return key

    def power_on_vm(self, name: VmName = VM) -> VmInfo:
        return self.do(PowerOnVm(vm=name)).vm

    def requests(self, since: int = 0) -> list[tuple[str, str, str]]:
        return self.sent[since:]

    def healthy(self) -> None:
        """Nothing unexpected happened in any node, and vCenter's index is what its rows say."""
        assert not self.loop.escapes, self.loop.escapes
        assert not self.loop.unhandled, self.loop.unhandled
        bad = [
            r
            for r in self.records
            if r.kind in ("node.internal_error", "node.background_failed", "node.start_failed")
        ]
        assert not bad, bad
        check_index(self.vcenter.inventory)
