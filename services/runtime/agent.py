"""The agent of one OS process: holds machines, executes the lab's commands, is each node's console.

In the simulation one agent holds every machine. A failure inside a node never leaves the node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from protocol.codec import decode_message, encode_message
from protocol.errors import (
    InvalidState,
    Malformed,
    NotAvailable,
    NotConnected,
    NotFound,
    ProductError,
    SaveFailed,
    TimedOut,
)
from protocol.messages.agent import (
    AddNode,
    Answer,
    Answers,
    Ask,
    AskEach,
    Canary,
    CanaryResult,
    DiskAct,
    DiskAction,
    HoldNode,
    ListNodes,
    NodeList,
    NodePowered,
    NodeRecord,
    NodeRunState,
    NodeSpec,
    PowerOff,
    PowerOn,
    SetFirmware,
    SetRules,
    SkewClock,
    SlowNode,
    TpmAct,
    TpmActed,
    TpmAction,
)
from protocol.messages.base import Ping, Repeat, Reply, Request, fields_with_keys
from protocol.messages.host.session import Done
from protocol.pages import first_page
from protocol.terms import NodeName
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import PcrSelection
from services.runtime.each import for_each, try_each
from services.runtime.incarnation import NodeDown, WayDown
from services.runtime.machine import Machine
from services.runtime.node import Recipe
from services.runtime.tpm.device import TpmDevice
from services.runtime.world import World

Handler = Callable[[Any], Awaitable[Reply]]


class Agent:
    """Executes control messages; ``handlers`` is its whole interface."""

    def __init__(
        self,
        world: World,
        catalog: Callable[[NodeSpec], Recipe],
        observe: Callable[[NodeRecord], None],
    ) -> None:
        self._world, self._catalog, self._observe = world, catalog, observe
        self._machines: dict[NodeName, Machine] = {}
        self._images: dict[tuple[NodeName, str], bytes] = {}
        self.handlers: Mapping[type[Request[Any]], Handler] = {
            AddNode: self.add_node,
            ListNodes: self.list_nodes,
            PowerOn: self.power_on,
            PowerOff: self.power_off,
            Ask: self.ask,
            AskEach: self.ask_each,
            SetRules: self.set_rules,
            Canary: self.canary,
            TpmAction: self.tpm,
            SetFirmware: self.set_firmware,
            HoldNode: self.hold,
            SkewClock: self.skew,
            SlowNode: self.slow,
            DiskAction: self.disk,
        }

    async def handle(self, message: Request[Any]) -> Reply:
        """Execute ``message``. Raises ``ProductError``; ``SaveFailed`` when the disk of its own
        machine fails."""
        handler = self.handlers.get(type(message))
        if handler is None:
            raise NotAvailable(f"the agent does not serve {type(message).__name__}")
        try:
            return await handler(message)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise SaveFailed(f"the disk refused: {error.strerror or error}{where}") from None

    def machine(self, node: NodeName) -> Machine:
        """The machine called ``node``; ``NotFound`` when it is not in this process."""
        found = self._machines.get(node)
        if found is None:
            raise NotFound(f"there is no node {node} in this process")
        return found

    async def add_node(self, message: AddNode) -> Done:
        """Add a node, powered off; no change when it is here already."""
        spec = message.spec
        if spec.node not in self._machines:
            recipe = self._catalog(spec)
            self._world.add(spec)
            self._machines[spec.node] = Machine(spec, self._world, recipe, self._observe)
        return Done()

    async def list_nodes(self, message: ListNodes) -> NodeList:
        """The status of one node, or of all by name; ``NotFound`` for one that is not here."""
        if message.node:
            machines = [self.machine(message.node)]
        else:
            machines = [machine for _, machine in sorted(self._machines.items())]
        counters = message.counters
        return NodeList(nodes=tuple([machine.status(counters=counters) for machine in machines]))

    async def power_on(self, message: PowerOn) -> NodePowered:
        """Power a node on; ``InvalidState`` while it is still going down."""
        machine = self.machine(message.node)
        await machine.power_on(message.options, wait=message.wait)
        return NodePowered(status=machine.status())

    async def power_off(self, message: PowerOff) -> NodePowered:
        """End the life of a node in the way of ``message``; no change when it is off."""
        machine = self.machine(message.node)
        await machine.power_off(WayDown(message.way))
        return NodePowered(status=machine.status())

    async def ask(self, message: Ask) -> Answer:
        """Pass a request to a node at its local console, and return its reply or error.

        Key material is refused: ``Malformed`` for a request that could carry it, and for a reply
        that does. ``NotConnected`` when the node does not run.
        """
        return await self._ask_node(
            message.node, decode_console_request(message), message.within_s, message.user
        )

    async def ask_each(self, message: AskEach) -> Answers:
        """As ``ask`` for several nodes at once. Each has ``within_s``; a slower one answers
        ``TimedOut``, and no node waits for another."""
        request = decode_console_request(message)
        if not message.nodes or type(request).repeat is not Repeat.READ:
            raise Malformed(f"{message.name} does more than read: ask one node")

        async def ask_one(node: NodeName) -> Answer:
            try:
                clock = self.machine(node).runner.ports.clock
                async with clock.timeout(message.within_s):
                    return await self._ask_node(node, request, message.within_s)
            except ProductError as error:
                return Answer(error=error.body())
            except TimeoutError:
                late = TimedOut(f"no answer of {node} within {message.within_s:g} s")
                return Answer(error=late.body())

        return Answers(answers=first_page(await for_each(message.nodes, ask_one)))

    async def _ask_node(
        self, node: NodeName, request: Request[Any], within_s: float, user: str = ""
    ) -> Answer:
        try:
            reply = await self.machine(node).runner.ask(request, within_s, user)
        except ProductError as error:
            return Answer(error=error.body())
        sealed = fields_with_keys(type(reply))
        if sealed and any(getattr(reply, field) is not None for field in sealed):
            raise Malformed(f"{type(reply).__name__} does not pass the local console")
        return Answer(name=type(reply).__name__, body=encode_message(reply))

    async def set_rules(self, message: SetRules) -> Done:
        """Put the whole set of link rules in force, unless a newer set is."""
        self._world.rules.apply(message)
        return Done()

    async def canary(self, message: Canary) -> CanaryResult:
        """Ping another node over the data bus, or shake hands with it over a connection; report how
        many returned, and how fast.

        ``NotConnected`` for pings that are pending when the node goes down.
        """
        runner = self.machine(message.node).runner
        bus, streams = runner.bus, runner.streams
        if message.stream and streams is None:
            raise NotAvailable(f"{message.node} has no connections")

        async def ping(number: int) -> float:
            start = self._world.monotonic()
            try:
                if message.stream and streams is not None:
                    await streams.canary(message.to, message.within_s)
                else:
                    await bus.request(message.to, Ping(), within_s=message.within_s)
            except NodeDown as down:  # of the node's life, not of this agent's
                raise NotConnected(str(down)) from None
            return self._world.monotonic() - start

        outcomes = await try_each(range(message.count), ping, name="canary")
        seconds = tuple(outcome for outcome in outcomes if isinstance(outcome, float))
        errors = [type(outcome).__name__ for outcome in outcomes if isinstance(outcome, Exception)]
        return CanaryResult(
            answered=len(seconds), seconds=seconds, error=errors[-1] if errors else ""
        )

    async def set_firmware(self, message: SetFirmware) -> Done:
        """Change a host's firmware set-up, in force from its next power-on."""
        self.machine(message.node).firmware = message.firmware
        return Done()

    async def hold(self, message: HoldNode) -> Done:
        """Pause a running node, or resume it."""
        self.machine(message.node).hold(message.held)
        return Done()

    async def skew(self, message: SkewClock) -> Done:
        """Skew a node's wall clock; 0 ends that."""
        self.machine(message.node).skew(message.skew_s)
        return Done()

    async def slow(self, message: SlowNode) -> Done:
        """Slow a node's work down; None ends that."""
        self.machine(message.node).slow(message.slowdown)
        return Done()

    async def disk(self, message: DiskAction) -> Done:
        """Copy, restore or wipe a node's disk, delete a copy, or check that there is room
        (``SaveFailed``).

        ``InvalidState`` unless the node is off, ``NotFound`` when there is no copy of that label.
        """
        machine = self.machine(message.node)
        looks = message.act in (DiskAct.ROOM, DiskAct.ROOM_TO_COPY)
        if not looks and machine.state is not NodeRunState.OFF:
            raise InvalidState(f"{message.node} is {machine.state.value}; its disk is in use")
        store = self._world.store(message.node)
        try:
            match message.act:
                case DiskAct.SAVE:
                    await store.save(message.label)
                case DiskAct.RESTORE:
                    await store.restore(message.label)
                case DiskAct.RESTORE_DATABASES:
                    await store.restore_databases(message.label)
                case DiskAct.DROP:
                    await store.drop(message.label)
                case DiskAct.WIPE:
                    await store.wipe()
                case DiskAct.ROOM | DiskAct.ROOM_TO_COPY:
                    await store.check_room(to_copy=message.act is DiskAct.ROOM_TO_COPY)
        except KeyError:
            raise NotFound(f"{message.node} has no disk copy {message.label!r}") from None
        return Done()

    async def tpm(self, message: TpmAction) -> TpmActed:
        """Act on a host's TPM as only its owner can, and report its state afterwards.

        ``InvalidState`` for a host without a TPM, and for an act that needs the power off;
        ``NotFound`` when there is no image of that label.
        """
        machine = self.machine(message.node)
        device = self._world.device(message.node)
        if device is None:
            raise InvalidState(f"{message.node} has no TPM")
        if message.act is not TpmAct.INFO:
            self._apply_tpm_action(machine, device, message)
        info, pcrs, srk = None, {}, None
        with suppress(TpmError):  # powered off it answers nothing; in failure mode only its failure
            info = device.info()
            pcrs = device.pcrs(PcrSelection.of(range(_BOOT_PCRS)))
            srk = device.srk_name()
        return TpmActed(
            info=info, ek=device.ek_digest(), pcrs=pcrs, srk="" if srk is None else srk.hex()
        )

    def _apply_tpm_action(self, machine: Machine, device: TpmDevice, message: TpmAction) -> None:
        off = machine.state is NodeRunState.OFF
        key = (message.node, message.label)
        match message.act:
            case TpmAct.SWAP | TpmAct.SAVE | TpmAct.ROLLBACK if not off:
                raise InvalidState(f"{message.node} is on; power it off to {message.act.value}")
            case TpmAct.CLEAR:
                device.clear()
            case TpmAct.SWAP:
                device.swap()
            case TpmAct.OCCUPY:
                device.occupy()
            case TpmAct.LOCKOUT:
                device.lockout()
            case TpmAct.FAIL:
                device.fail_nv(True)
            case TpmAct.UNFAIL:
                device.fail_nv(False)
            case TpmAct.SAVE:
                self._images[key] = device.snapshot()
            case TpmAct.ROLLBACK:
                if key not in self._images:
                    raise NotFound(f"{message.node} has no TPM image {message.label!r}")
                device.restore(self._images[key])
            case TpmAct.INFO:
                pass


_BOOT_PCRS = 14
"""PCR 0 to 13: all that a boot extends."""


def decode_console_request(message: Ask | AskEach) -> Request[Any]:
    request = decode_message(message.name, message.body)
    if not isinstance(request, Request) or fields_with_keys(type(request)):
        raise Malformed(f"{message.name} does not pass the local console")
    return request
