"""Real hosts in the simulated world, and a vCenter that says only what a test tells it to.

Hosts run as in a lab: node runner, bus, disk with two images, datastore, TPM (``model`` by
default), in virtual time. The controller is a peer on the bus, no copy of the product's vCenter:
it opens sessions, sends commands, and remembers what hosts told it.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import msgspec

from protocol.errors import ProductError
from protocol.messages.agent import (
    Firmware,
    ListNodes,
    NodeRunState,
    NodeSpec,
    NodeStatus,
    SetFirmware,
    TpmBackend,
)
from protocol.messages.base import Reply, Request, Sealed
from protocol.messages.host.crypto import (
    AddKeys,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    KeysAdded,
)
from protocol.messages.host.session import (
    Command,
    Done,
    Esxcli,
    EsxcliResult,
    HostSummary,
    OpenSession,
    QueryHost,
    VmSummary,
)
from protocol.messages.host.vms import (
    GuestChallenge,
    GuestWrite,
    HostCreateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    ReconfigureVm,
)
from protocol.messages.vcenter.inventory import HostChanged
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, NodeName, ProviderId, Role, VmName
from services.esxi.config import esxi_config
from services.esxi.host import EsxiHost
from services.esxi.service import EsxiService
from services.knobs import knobs_of
from services.runtime.bus import IncomingRequest
from services.runtime.node import Recipe
from services.runtime.service import Peer, Service, serves
from services.runtime.session import SessionCommands
from services.runtime.sim.datastore import SimArray
from services.runtime.sim.disk import SimStore
from tests.services.sim_rig import SimRig

R = TypeVar("R", bound=Reply)

VCENTER = NodeName("vcenter")
A = NodeName("esxi-001")
B = NodeName("esxi-002")
VM = VmName("vm-01")
PROVIDER = ProviderId("kms-provider")
DATASTORE = "datastore-1"
HOST_KEY = CryptoKeyId(KeyId("host-key"), PROVIDER)
FAST = {"boot_step_s": 1.0, "autostart_window_s": 20.0}


def key(name: str) -> CryptoKeyId:
    return CryptoKeyId(KeyId(name), PROVIDER)


def material(name: CryptoKeyId) -> KeyMaterial:
    """The bytes a key server would give for it: always the same, found by a scan."""
    return KeyMaterial(name.key_id.encode().ljust(32, b"*"))


class Controller(Service):
    """The test's voice on the bus, under vCenter's name."""

    role: ClassVar[Role] = Role.VCENTER

    def __init__(self, node: Any, ports: Any) -> None:
        super().__init__(node, ports)
        self.rung: list[int] = []  # boots of hosts that rang
        self.sessions: dict[NodeName, SessionCommands] = {}
        self.supply: dict[CryptoKeyId, NodeName] = {}  # keys to bring when that host rings

    @serves(HostChanged)
    async def host_changed(self, message: HostChanged, peer: Peer) -> Done:
        self.rung.append(message.boot)
        if peer.node in self.supply.values():
            self.node.background("supply", self._bring(peer.node))
        return Done()

    async def _bring(self, host: NodeName) -> None:
        """Look at the host, and give it what its VMs miss and a test has for it."""
        state = await self.bus.request(host, QueryHost(), within_s=10)
        missing = {key for vm in state.summary.vms for key in vm.missing}
        wanted = tuple(k for k, of in self.supply.items() if of == host and k in missing)
        if wanted:
            await self.command(host, add(*wanted))

    async def connect(self, host: NodeName) -> HostSummary:
        session = f"{host}-{self.node.boot}-{self.rng.token(4).hex()}"
        opened = await self.bus.request(
            host, OpenSession(session=session, vcenter_boot=self.node.boot), within_s=10
        )
        self.sessions[host] = SessionCommands(session)
        return opened.summary

    async def command(self, host: NodeName, message: Command[R]) -> R:
        stamped = self.sessions[host].stamp(message)
        return await self.bus.request(host, stamped, within_s=30)


def add(*keys: CryptoKeyId) -> AddKeys:
    return AddKeys(keys=keys, material=Sealed.of(*(material(k) for k in keys)))


class Rig(SimRig):
    """Hosts, and a controller under vCenter's name."""

    longest_s = 4000.0

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed)
        self.services: dict[NodeName, Service] = {}

    def recipe(self, spec: NodeSpec) -> Recipe:
        def make(node: Any, ports: Any) -> Service:
            made: Service
            if spec.role is Role.ESXI:
                made = EsxiService(node, ports, esxi_config(spec.config))
            else:
                made = Controller(node, ports)
            self.services[spec.node] = made
            return made

        return Recipe(knobs_of(spec.role, spec.knobs), make)

    # ---- building -----------------------------------------------------------------------------

    def add_host(
        self,
        node: NodeName = A,
        *,
        tpm: TpmBackend = TpmBackend.MODEL,
        knobs: dict[str, Any] | None = None,
        firmware: Firmware | None = None,
        **config: Any,
    ) -> None:
        spec = NodeSpec(
            node=node,
            role=Role.ESXI,
            tpm=tpm,
            vtpm=TpmBackend.MODEL if tpm is TpmBackend.NONE else tpm,
            firmware=firmware or Firmware(),
            knobs={**FAST, **(knobs or {})},
            config={"vcenter": VCENTER, "datastore": DATASTORE, **config},
        )
        self.add_node(spec)

    def add_vcenter(self) -> None:
        self.add_node(NodeSpec(node=VCENTER, role=Role.VCENTER, knobs=dict(FAST)))

    # ---- power --------------------------------------------------------------------------------

    def power_on(self, node: NodeName = A, /, **options: str) -> NodeStatus:
        return super().power_on(node, **options)

    def power_off(self, node: NodeName = A, way: str = "stop") -> NodeStatus:
        return super().power_off(node, way)

    def reboot(self, node: NodeName = A, way: str = "stop", **options: str) -> NodeStatus:
        self.power_off(node, way)
        return self.power_on(node, **options)

    def set_firmware(self, node: NodeName = A, **changes: Any) -> None:
        firmware = msgspec.structs.replace(self.agent.machine(node).firmware, **changes)
        self.run(self.agent.set_firmware(SetFirmware(node=node, firmware=firmware)))

    def status(self, node: NodeName = A) -> NodeStatus:
        found = self.run(self.agent.list_nodes(ListNodes())).nodes
        return next(status for status in found if status.node == node)

    # ---- asking -------------------------------------------------------------------------------

    def console(self, message: Request[R], node: NodeName = A) -> R:
        """As the local administrator."""
        reply = self.run(self.agent.machine(node).runner.ask(message, 60))
        return reply  # type: ignore[return-value]

    def command(self, message: Command[R], node: NodeName = A) -> R:
        """As vCenter, within its session."""
        return self.run(self.controller.command(node, message))

    def connect(self, node: NodeName = A) -> HostSummary:
        return self.run(self.controller.connect(node))

    def esxcli(self, line: str, node: NodeName = A) -> EsxcliResult:
        return self.console(Esxcli(arguments=tuple(line.split())), node)

    def summary(self, node: NodeName = A) -> HostSummary:
        return self.console(QueryHost(), node).summary

    def vm(self, vm: VmName = VM, node: NodeName = A) -> VmSummary:
        return next(s for s in self.summary(node).vms if s.vm == vm)

    def refusal(self, work: Coroutine[Any, Any, Any]) -> ProductError:
        async def tried() -> ProductError:
            try:
                await work
            except ProductError as error:
                return error
            raise AssertionError("it was not refused")

        return self.run(tried())

    def refused_door(self, message: Request[Any], node: NodeName = A) -> ProductError:
        return self.refusal(self.agent.machine(node).runner.ask(message, 60))

    def refused_command(self, message: Command[Any], node: NodeName = A) -> ProductError:
        return self.refusal(self.controller.command(node, message))

    def accepted(
        self, messages: Sequence[Request[Any]], node: NodeName = A, *, last_within_s: float = 60.0
    ) -> list[Any]:
        """What each comes to, all accepted in this order at one moment.

        Commands are vCenter's, what is none is asked at the host's console; ``last_within_s`` is
        the time that the last one has.
        """
        outcomes: list[Any] = [None] * len(messages)
        self.accept(messages, outcomes, node, last_within_s=last_within_s)
        for _ in range(2_000):
            if all(outcome is not None for outcome in outcomes):
                return outcomes
            self.sleep(0.01)
        raise AssertionError(f"not all were answered: {outcomes}")

    def accept(
        self,
        messages: Sequence[Request[Any]],
        outcomes: list[Any],
        node: NodeName = A,
        *,
        last_within_s: float = 60.0,
    ) -> None:
        """As ``accepted``, without waiting: each outcome is put into its place when it is there."""
        runner, session = self.agent.machine(node).runner, self.controller.sessions[node]
        peer = Peer(VCENTER, self.controller.node.boot)
        for place, message in enumerate(messages):
            of, sent = Peer(node, runner.boot, local=True), message
            if isinstance(message, Command):
                of, sent = peer, session.stamp(message)
            within_s = last_within_s if place == len(messages) - 1 else 60.0
            deadline = self.loop.time() + within_s
            respond = partial(outcomes.__setitem__, place)
            runner.accept(IncomingRequest(sent, of, deadline, "", respond))

    # ---- looking ------------------------------------------------------------------------------

    @property
    def controller(self) -> Controller:
        service = self.services[VCENTER]
        assert isinstance(service, Controller)
        return service

    def host(self, node: NodeName = A) -> EsxiHost:
        service = self.services[node]
        assert isinstance(service, EsxiService)
        return service.host

    def store(self, node: NodeName = A) -> SimStore:
        return self.world.stores[node]

    @property
    def array(self) -> SimArray:
        return self.world.arrays[DATASTORE]

    def kinds(self, kind: str, node: NodeName = A) -> list[dict[str, Any]]:
        return [r.fields for r in self.records if r.kind == kind and r.node == node]

    # ---- stories ------------------------------------------------------------------------------

    def up(self, node: NodeName = A, **host: Any) -> None:
        """vCenter and a host, booted and connected."""
        if VCENTER not in self.services:
            self.add_vcenter()
            self.power_on(VCENTER)
        self.add_host(node, **host)
        assert self.power_on(node).state is NodeRunState.RUNNING
        self.connect(node)

    def make_safe(self, node: NodeName = A, host_key: CryptoKeyId = HOST_KEY) -> None:
        if self.summary(node).crypto_state is HostCryptoState.INCAPABLE:
            self.command(CryptoManagerHostPrepare(), node)
        enable = CryptoManagerHostEnable(key=host_key, material=Sealed.of(material(host_key)))
        self.command(enable, node)

    def add_keys(self, *keys: CryptoKeyId, node: NodeName = A) -> KeysAdded:
        return self.command(add(*keys), node)

    def encrypted_vm(
        self, vm: VmName = VM, kek: str = "kek-1", node: NodeName = A, *, on: bool = True
    ) -> None:
        """A safe host's VM, encrypted, its disk written from a marker, running or not."""
        self.add_keys(key(kek), node=node)
        self.command(HostCreateVm(vm=vm, blocks=8), node)
        self.command(ReconfigureVm(vm=vm, key=key(kek)), node)
        self.command(HostPowerOnVm(vm=vm), node)
        self.console(GuestWrite(vm=vm, marker=MARKER), node)
        if not on:
            self.command(HostPowerOffVm(vm=vm), node)

    def works(self, vm: VmName = VM, node: NodeName = A) -> bool:
        """Whether the guest answers a fresh challenge as only its marker's data can."""
        from protocol.guest import challenge_digest, guest_block, guest_seed

        blocks = (1, 3, 6)
        challenge = GuestChallenge(vm=vm, nonce=b"fresh", blocks=blocks)
        try:
            answer = self.console(challenge, node)
        except ProductError:
            return False
        generations = self.generations.setdefault(vm, {})
        contents = [
            guest_block(guest_seed(MARKER), index, generations.get(index, 0)) for index in blocks
        ]
        generations[answer.rewritten] = generations.get(answer.rewritten, 0) + 1
        return answer.digest == challenge_digest(b"fresh", contents) and (
            answer.generation == generations[answer.rewritten]
        )

    generations: dict[VmName, dict[int, int]]


MARKER = b"the marker that only the questioner keeps"
