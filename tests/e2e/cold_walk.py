"""A seeded walk over everything that moves, starts and stops VMs of two vCenters, while nodes fall
and links are cut: DRS, moves of VMs that are off, moves between vCenters, maintenance, hosts that
are removed and added, encryption modes.

What must be so: a guest runs once at most, whenever one looks; an answer that says *done* is true
when it comes; and in the peace afterwards each VM is registered once by the word of all hosts, is
in one inventory, which has it there, and starts with the data that it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from chaos.draws import Draws
from chaos.observe.guests import Guests
from protocol.errors import ProductError
from protocol.messages.agent import CutRule, DelayRule, LinkRule, NodeRunState
from protocol.messages.base import Request
from protocol.messages.vcenter.inventory import (
    AddHost,
    ConfigureCryptoKey,
    DisableCrypto,
    EnterMaintenanceMode,
    ExitMaintenanceMode,
    ReconfigureComputeResource,
    RemoveHost,
)
from protocol.messages.vcenter.vms import (
    AddDisk,
    AddVtpm,
    CloneVm,
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    RegisterVm,
    RelocateVm,
    ServiceLocator,
    UnregisterVm,
)
from protocol.terms import ClusterName, DrsBehavior, NodeName, PowerState, ProviderId, VmName
from services.esxi.service import EsxiService
from services.vcenter.inventory import Inventory
from services.vcenter.service import VcenterService
from services.vcenter.tables import Relocation
from tests.chaos.worlds import World

T = TypeVar("T")

WEST, EAST = NodeName("west"), NodeName("east")
HOSTS_OF = {
    WEST: tuple(NodeName(f"esxi-{n:03d}") for n in (1, 2, 3)),
    EAST: tuple(NodeName(f"esxi-{n:03d}") for n in (4, 5)),
}
HOSTS = (*HOSTS_OF[WEST], *HOSTS_OF[EAST])
STEPS = 40
PEACE_S = 700.0
OPEN = (Relocation.LEAVING, Relocation.STAYED, Relocation.EXPECTED)


def lab_file(*, ha: bool) -> dict[str, Any]:
    """Two vCenters on one datastore, with VMs under keys of one key server, and VMs in clear."""
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "walk",
        "vcenters": [{"name": WEST}, {"name": EAST}],
        "kms": [{"name": "kms"}],
        "providers": [{"name": "keys", "vcenter": v, "servers": ["kms"]} for v in (WEST, EAST)],
        "clusters": [
            {
                "name": f"cluster-{vcenter}",
                "vcenter": vcenter,
                "datastore": "shared",
                "ha": ha,
                "drs": "partiallyAutomated",
                "hosts": {"count": len(HOSTS_OF[vcenter]), "tpm": "model"},
                "vms": {"count": 3, "provider": "keys", "encrypted": vcenter == WEST},
            }
            for vcenter in (WEST, EAST)
        ],
    }


def devices(one: VmName, two: VmName) -> tuple[Request[Any], ...]:
    """A second disk with a key of its own, and a virtual TPM."""
    disk = AddDisk(operation_id="disk", vm=one, own_key=True, provider=ProviderId("keys"))
    return disk, AddVtpm(operation_id="vtpm", vm=two)


class Walk:
    """One lab and what was seen in it; ``wrong`` is what must not be."""

    def __init__(self, seed: int, *, ha: bool = False) -> None:
        self.world = World(seed, lab_file(ha=ha))
        self.ha = ha
        self.lab = self.world.lab
        self.draws = Draws(seed, "walk")
        self.guests = Guests(self.lab, Draws(seed, "guests"))
        self.vms = tuple(v.vm for v in self.lab.topology.vms)
        self.copies: list[VmName] = []
        self.wrong: list[str] = []
        self.story: list[str] = []
        self.done: dict[str, int] = {}
        self._busy: dict[str, int] = {}
        self._falls: dict[NodeName, int] = dict.fromkeys((*HOSTS, WEST, EAST), 0)
        self._down: set[NodeName] = set()
        self._removed_ones: set[NodeName] = set()
        self._cuts = 0
        self._over = False

    # ---- what is so --------------------------------------------------------------------------

    def _service(self, node: NodeName) -> Any:
        machine = self.lab.agent.machine(node)
        return machine.runner.service if machine.state is NodeRunState.RUNNING else None

    def running_on(self, vm: VmName) -> list[NodeName]:
        """The hosts with a guest of that VM, one that stands still for its move too."""
        found = []
        for host in HOSTS:
            service = self._service(host)
            if isinstance(service, EsxiService) and hasattr(service, "host"):
                known = service.host.vms.get(vm)
                found += [host] if known is not None and known.guest is not None else []
        return found

    def listing(self, vm: VmName) -> list[NodeName]:
        """The hosts that have it registered, in memory."""
        found = []
        for host in HOSTS:
            service = self._service(host)
            if isinstance(service, EsxiService) and hasattr(service, "host"):
                found += [host] if vm in service.host.vms else []
        return found

    def inventory(self, vcenter: NodeName) -> Inventory | None:
        service = self._service(vcenter)
        return service.vcenter.inventory if isinstance(service, VcenterService) else None

    def owners(self, vm: VmName) -> list[NodeName]:
        there = ((v, self.inventory(v)) for v in HOSTS_OF)
        return [v for v, inventory in there if inventory is not None and vm in inventory.vms]

    # ---- what is done ------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.story.append(f"{self.lab.monotonic():8.2f} {text}")

    async def _ask(self, vcenter: NodeName, message: Request[Any], *about: str) -> Any:
        """The answer, or None; ``about``: what nobody else may be at when it is judged."""
        name = f"{type(message).__name__} {' '.join(about)}"
        self._say(f"{vcenter}: {name} {_rest(message)}")
        for one in about:
            self._busy[one] = self._busy.get(one, 0) + 1
        try:
            answer = await self.lab.ask(vcenter, message, within_s=120)
        except ProductError as error:
            self._say(f"{vcenter}: {name}: {type(error).__name__}: {error}")
            if type(error).__name__ == "Internal":
                self.wrong.append(f"{name}: {error}")
            return None
        finally:
            for one in about:
                self._busy[one] -= 1
        self._say(f"{vcenter}: {name}: ok")
        self.done[type(message).__name__] = self.done.get(type(message).__name__, 0) + 1
        return answer

    def _alone(self, *about: str) -> bool:
        return not any(self._busy.get(one) for one in about)

    async def _power_on(self, vcenter: NodeName, vm: VmName) -> None:
        falls = dict(self._falls)
        answer = await self._ask(vcenter, PowerOnVm(vm=vm), vm)
        if answer is None or not self._alone(vm):
            return
        host = answer.vm.host
        if falls == self._falls and self.running_on(vm) != [host]:
            self._amiss(f"{vm} was said to run on {host}, and runs on {self.running_on(vm)}")
        if answer.vm.power is not PowerState.ON:
            self._amiss(f"{vm} was powered on, and said to be {answer.vm.power.value}")

    async def _power_off(self, vcenter: NodeName, vm: VmName) -> None:
        answer = await self._ask(vcenter, PowerOffVm(vm=vm), vm)
        if answer is not None and self._alone(vm) and not self.ha and self.running_on(vm):
            self._amiss(f"{vm} was powered off, and runs on {self.running_on(vm)}")

    async def _migrate(self, vcenter: NodeName, vm: VmName, host: NodeName) -> None:
        falls = dict(self._falls)
        answer = await self._ask(vcenter, MigrateVm(vm=vm, host=host), vm)
        if answer is None or not self._alone(vm) or falls != self._falls or host in self._down:
            return
        if answer.vm.host != host or host not in self.listing(vm):
            at = f"{answer.vm.host}, listed by {self.listing(vm)}"
            self._amiss(f"{vm} was said to have moved to {host}, and is at {at}")

    async def _relocate(self, vcenter: NodeName, vm: VmName, host: NodeName) -> None:
        other = EAST if vcenter == WEST else WEST
        falls = dict(self._falls)
        message = RelocateVm(vm=vm, service=ServiceLocator(vcenter=other), host=host)
        answer = await self._ask(vcenter, message, vm)
        if answer is not None and self._alone(vm) and falls == self._falls:
            if self.owners(vm) != [other]:
                self._amiss(f"{vm} was said to have moved to {other}: {self.owners(vm)}")

    async def _enter(self, vcenter: NodeName, host: NodeName) -> None:
        falls = self._falls[host]
        answer = await self._ask(vcenter, EnterMaintenanceMode(host=host, evacuate=True), host)
        if answer is not None and self._alone(host) and falls == self._falls[host]:
            running = [vm for vm in self.vms if host in self.running_on(vm)]
            if running:
                self._amiss(f"{host} is in maintenance mode, and runs {running}")

    async def _removed(self, vcenter: NodeName, host: NodeName, after_s: float) -> None:
        if await self._ask(vcenter, RemoveHost(host=host), host) is not None:
            self._removed_ones.add(host)
        await self.lab.sleep(after_s)
        await self._add(vcenter, host)

    async def _add(self, vcenter: NodeName, host: NodeName) -> bool:
        cluster = ClusterName(f"cluster-{vcenter}")
        return await self._ask(vcenter, AddHost(host=host, cluster=cluster), host) is not None

    async def _registered_anew(self, vcenter: NodeName, vm: VmName, after_s: float) -> None:
        if await self._ask(vcenter, UnregisterVm(vm=vm), vm) is None:
            return
        await self.lab.sleep(after_s)
        nowhere = not self.owners(vm) and not self.listing(vm)
        if nowhere and self._alone(vm) and not self._down:
            await self._register(vcenter, vm)

    async def _register(self, vcenter: NodeName, vm: VmName) -> None:
        """It can be registered in two inventories by hand, which is nobody's defect."""
        cluster = ClusterName(f"cluster-{vcenter}")
        await self._ask(vcenter, RegisterVm(vm=vm, cluster=cluster), vm)

    async def _clone(self, vcenter: NodeName, vm: VmName, host: NodeName) -> None:
        name = VmName(f"copy-{len(self.copies) + 1}")
        self.copies.append(name)
        message = CloneVm(vm=name, source=vm, host=host, operation_id=name)
        if await self._ask(vcenter, message, vm, name) is not None:
            self.vms = (*self.vms, name)

    async def _fall(self, node: NodeName, way: str, after_s: float) -> None:
        if node in self._down:
            return
        self._down.add(node)
        self._falls[node] += 1
        self._say(f"{node}: {way}, back after {after_s:.1f} s")
        await self.lab.power_off(node, way)
        await self.lab.sleep(after_s)
        await self.lab.power_on(node)
        self._say(f"{node}: is back")
        self._falls[node] += 1
        self._down.discard(node)

    async def _cut(self, rules: tuple[LinkRule, ...], for_s: float) -> None:
        self._say(f"link: {rules} for {for_s:.1f} s")
        await self.lab.put_rules(rules)
        await self.lab.sleep(for_s)
        await self.lab.drop_rules(rules[0].id)

    # ---- the walk ----------------------------------------------------------------------------

    def _of(self, items: Sequence[T]) -> T:
        return items[self.draws.below(len(items))]

    def _at(self, vm: VmName) -> NodeName:
        """A vCenter that has it, mostly."""
        there = self.owners(vm)
        return self._of(there) if there and self.draws.unit() < 0.95 else self._of((WEST, EAST))

    def _next(self) -> Coroutine[Any, Any, Any]:
        vm, host, what = self._of(self.vms), self._of(HOSTS), self.draws.unit()
        vcenter, leads = self._at(vm), WEST if host in HOSTS_OF[WEST] else EAST
        other = EAST if vcenter == WEST else WEST
        if what < 0.28:
            return self._power_on(vcenter, vm)
        if what < 0.42:
            return self._power_off(vcenter, vm)
        if what < 0.50:
            return self._migrate(vcenter, vm, self._of(HOSTS_OF[vcenter]))
        if what < 0.60:
            return self._relocate(vcenter, vm, self._of(HOSTS_OF[other]))
        if what < 0.64:
            return self._enter(leads, host)
        if what < 0.69:
            return self._ask(leads, ExitMaintenanceMode(host=host), host)
        if what < 0.72:
            drs = self._of((None, *DrsBehavior))
            message = ReconfigureComputeResource(cluster=ClusterName(f"cluster-{leads}"), drs=drs)
            return self._ask(leads, message)
        if what < 0.75:
            return self._removed(leads, host, self.draws.exponential(30))
        if what < 0.78:
            return self._ask(leads, DisableCrypto(host=host), host)
        if what < 0.81:
            return self._ask(leads, ConfigureCryptoKey(host=host), host)
        if what < 0.84:
            return self._registered_anew(vcenter, vm, self.draws.exponential(10))
        if what < 0.86:
            return self._clone(vcenter, vm, self._of(HOSTS_OF[vcenter]))
        if what < 0.93:
            node = self._of((*HOSTS, WEST, WEST, EAST))
            way = self._of(("crash", "power_loss"))
            return self._fall(node, way, self.draws.exponential(40))
        return self._disturb(vcenter, host)

    def _disturb(self, vcenter: NodeName, host: NodeName) -> Coroutine[Any, Any, None]:
        self._cuts += 1
        a, b = self._of(((vcenter, host), (WEST, EAST), (host, self._of(HOSTS))))
        pairs = self._of((((a, b), (b, a)), ((a, b),), ((b, a),)))
        name, for_s = f"walk-{self._cuts}", self.draws.exponential(30)
        if a == b:
            return self.lab.sleep(0)
        rules: list[LinkRule] = []
        slow = self.draws.unit() < 0.3
        for src, dst in pairs:
            if slow:
                rules.append(DelayRule(id=name, src=src, dst=dst, base_s=2, jitter_s=20))
            else:
                rules.append(CutRule(id=name, src=src, dst=dst))
        return self._cut(tuple(rules), for_s)

    async def _watch(self) -> None:
        while not self._over:
            for vm in self.vms:
                if len(there := self.running_on(vm)) > 1:
                    asked = [await self.guests.challenge(vm, host) for host in there]
                    if sum(answer.right is True for answer in asked) > 1:
                        self._amiss(f"{vm} runs on {there}: {asked}")
            await self.lab.sleep(0.1)

    def _amiss(self, text: str) -> None:
        self._say(f"WRONG {text}")
        self.wrong.append(text)

    async def go(self) -> None:
        """The whole walk, with its peace and what is asked then."""
        for vm, message in zip(self.vms, devices(*self.vms[:2]), strict=False):
            for step in (PowerOffVm(vm=vm), message, PowerOnVm(vm=vm)):
                await self.lab.ask(WEST, step, within_s=60)
        for vm in self.vms:
            await self.guests.plant(vm, self.running_on(vm)[0])
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(), name="watch")
            under_way = []
            for number in range(STEPS):
                under_way.append(group.create_task(self._next(), name=f"step-{number}"))
                if self.draws.unit() < 0.6:
                    await self.lab.sleep(self.draws.exponential(0.01))
                else:
                    await self.lab.sleep(self.draws.exponential(12))
            for task in under_way:
                await task
            await self._settled()
            self._over = True
            await watch
        await self._judge()

    async def _settled(self) -> None:
        for vcenter, hosts in HOSTS_OF.items():
            for host in hosts:
                await self._add(vcenter, host)
                await self._ask(vcenter, ExitMaintenanceMode(host=host), host)
        await self.lab.sleep(PEACE_S)
        for vcenter, hosts in HOSTS_OF.items():
            for host in hosts:
                await self._ask(vcenter, ConfigureCryptoKey(host=host), host)
        await self.lab.sleep(60)

    async def _judge(self) -> None:
        for vm in self.vms:
            if not self.listing(vm):  # somebody has unregistered it, at least half
                await self._register((*self.owners(vm), WEST)[0], vm)
            there, owners = self.listing(vm), self.owners(vm)
            if len(owners) != 1:
                self._amiss(f"{vm} is in the inventories of {owners}, listed by {there}")
                continue
            inventory = self.inventory(owners[0])
            assert inventory is not None
            row = inventory.vms[vm]
            once = row.host in there and self._once(there, row.host)
            if not once or row.moving:
                self._amiss(f"{vm} is listed by {there}; {owners[0]}: {row.host}, {row.moving}")
            runs = self.running_on(vm)
            if (row.power is PowerState.ON) != bool(runs):
                self._amiss(f"{vm} runs on {runs}, and is {row.power.value} to {owners[0]}")
            await self._works(owners[0], vm)
        for vcenter in HOSTS_OF:
            inventory = self.inventory(vcenter)
            assert inventory is not None
            for move in inventory.relocations.values():
                if move.state in OPEN:
                    self._amiss(f"{vcenter} waits for the end of a move: {move}")
        for status in (await self.lab.statuses()).values():
            if status.counters.get("internal_errors"):
                self._amiss(f"{status.node} has {status.counters}")

    def _once(self, there: list[NodeName], host: NodeName) -> bool:
        """A host that vSphere HA took it from, or that was removed meanwhile, lists it on."""
        return self.ha or there == [host] or bool(self._removed_ones & {*there})

    async def _works(self, vcenter: NodeName, vm: VmName) -> None:
        await self._ask(vcenter, PowerOffVm(vm=vm), vm)
        answer = await self._ask(vcenter, PowerOnVm(vm=vm), vm)
        if answer is None:
            self._amiss(f"{vm} does not start: {self.story[-1]}")
            return
        if vm in self.copies:
            return
        asked = await self.guests.challenge(vm, answer.vm.host)
        if not asked.right:
            self._amiss(f"{vm} works not: {asked}")
        there = self.listing(vm)
        if answer.vm.host not in there or not self._once(there, answer.vm.host):
            self._amiss(f"{vm} runs on {answer.vm.host}, and is listed by {there}")


def _rest(message: Request[Any]) -> str:
    return " ".join(str(getattr(message, name, "")) for name in ("host", "service", "drs"))


def walked(seed: int, *, ha: bool = False) -> Walk:
    """The walk of that seed, to its end."""
    walk = Walk(seed, ha=ha)
    try:
        walk.world.run(walk.go())
    finally:
        walk.world.close()
    return walk
