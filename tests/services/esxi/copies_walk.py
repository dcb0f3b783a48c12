"""A random walk over copies of VMs and what disturbs them, beside a model of what each VM holds.

``Walk(seed)`` has two hosts of one datastore. Each ``step`` gives a command, or two at once, and
may disturb it (``copies_faults``). What is there afterwards is what one of the model's
worlds says: the one before, the one after, and in a few places one between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from protocol.errors import DatastoreFault, EncryptionKeyRequired, GuestFault, ProductError
from protocol.guest import guest_seed
from protocol.guest_tpm import flaw_of, secret_of
from protocol.messages.agent import NodeRunState
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.session import Command
from protocol.messages.host.vms import (
    GuestChallenge,
    GuestTpmChallenge,
    GuestTpmSeal,
    GuestWrite,
    HostAddDisk,
    HostAddVtpm,
    HostCloneVm,
    HostCreateSnapshot,
    HostCreateVm,
    HostDestroyVm,
    HostMigrateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostPrepareMigration,
    HostRecryptVm,
    HostRegisterVm,
    HostRemoveSnapshot,
    HostRevertToSnapshot,
    HostUnregisterVm,
    ReconfigureVm,
    StreamKey,
    TpmProvisionPolicy,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, VmName
from protocol.tpm.structures import PublicArea
from services.esxi.vms.file_formats import disk_file, nvram_file, vmem_file
from services.esxi.vms.guest import SPAN
from tests.services.esxi import copies_world as model
from tests.services.esxi.copies_faults import FAULTS, Fault
from tests.services.esxi.copies_world import FRESH, Tpm, Vm
from tests.services.esxi.rig import PROVIDER, A, B, Rig, key

World = dict[VmName, Vm]
Effect = Callable[[World], World | None]
"""The world after a command, None when it is refused."""

KEYS = tuple(key(f"kek-{n}") for n in range(1, 5))
NAMES = ("s1", "s2", "s3")
HOSTS = (A, B)
MOST = 5  # VMs


@dataclass(frozen=True)
class Act:
    """A command to a host, and what comes of it. ``between``: what may be left of it by a fall."""

    message: Command[Any]
    node: NodeName
    effect: Effect
    between: Effect = lambda world: None


class Walk:
    """See the module's text."""

    def __init__(self, seed: int) -> None:
        self.rig, self.draw, self.vms = Rig(seed), Random(seed), World()
        self.log: list[str] = []
        self.seen: set[bytes] = set()  # secrets of all runs
        self.markers: set[bytes] = set()  # of encrypted VMs
        self.tpms: set[bytes] = set()  # endorsement keys of all virtual TPMs
        self.unsure: set[VmName] = set()  # whether a boot starts it
        self.untidy: set[VmName] = set()
        self.number = 0
        self.older: dict[tuple[VmName, str], list[bytes]] = {}
        self._build()

    def _build(self) -> None:
        world: World = {}
        for node in HOSTS:
            self.rig.up(node, knobs={"workload_period_s": 0.0})
            self.rig.esxcli("system security keypersistence enable", node)
            self.rig.make_safe(node)
            self.rig.add_keys(*KEYS, node=node)
        for number, (name, keys) in enumerate(
            (("vm-01", KEYS[:1]), ("vm-02", KEYS[1:2]), ("clear", ()))
        ):
            vm, node = VmName(name), HOSTS[number % 2]
            self.rig.command(HostCreateVm(vm=vm, blocks=4), node)
            if keys:
                self.rig.command(ReconfigureVm(vm=vm, key=keys[0]), node)
            if number == 0:
                self.rig.command(HostAddVtpm(vm=vm), node)
                self.rig.command(HostAddDisk(vm=vm, operation_id="disk", blocks=2), node)
            disks = model.disks_of(self.rig, vm)
            world[vm] = Vm(vm, node, disks, Tpm() if number == 0 else None, None, tuple(keys))
        self._adopt(world)

    # ---- one step ---------------------------------------------------------------------------

    def step(self) -> None:
        kind = self.draw.choices(
            ("act", "pair", "use", "move", "keyless", "damaged", "boot", "destroy"),
            (50, 8, 25, 6, 4, 6, 4, 3),
        )[0]
        getattr(self, f"_{kind}")()
        self.check()

    def check(self) -> None:
        """Whatever was done: no leftover, nothing in clear, one host for each VM."""
        rig = self.rig
        left = [
            one for one in model.left_over(rig, self.vms) if one.split("/")[0] not in self.untidy
        ]
        assert not left, left
        encrypted = [vm for vm in self.vms.values() if vm.keys]
        secrets = set().union(*(model.secrets_of(vm, self.markers) for vm in encrypted))
        assert not (clear := model.in_clear(rig, secrets)), clear
        for vm in self.vms:
            runs = [n for n in HOSTS if (of := rig.host(n).vms.get(vm)) and of.guest is not None]
            assert len(runs) <= 1, f"{vm} runs twice"
            self._remember_memory(vm)

    def _remember_memory(self, vm: VmName) -> None:
        for file, data in self.rig.array.folders[vm].items():
            if file.endswith(".vmem") and data:
                kept = self.older.setdefault((vm, file), [])
                if bytes(data) not in kept:
                    kept.append(bytes(data))

    def _settle(self, worlds: list[World], what: str) -> None:
        """Go on in the world that is there."""
        found = []
        for world in worlds:
            wrong = [
                f"{vm.name}: {why}"
                for vm in world.values()
                if (why := model.differs(self.rig, vm, self.seen))
            ]
            listed = {vm for node in HOSTS for vm in self.rig.host(node).vms}
            wrong += [f"{vm} is there" for vm in sorted(listed - set(world))]
            if not wrong:
                self._adopt(world)
                return
            found.append(wrong)
        raise AssertionError(f"after {what}: none of {len(worlds)} worlds: {found}")

    def _adopt(self, world: World) -> None:
        self.vms = dict(world)
        for vm in world.values():
            if vm.on:
                memory = model.memory_of(self.rig, vm.name, vm.host)
                assert memory is not None
                self.seen.add(model.secret_in(memory))
                kept = {  # a snapshot that was taken as soon as it ran
                    name: replace(of, memory=memory) if of.memory == FRESH else of
                    for name, of in vm.kept.items()
                }
                vm = self.vms[vm.name] = replace(vm, memory=memory, kept=kept)
            if vm.tpm is not None and not vm.tpm.ek:
                device = model.config_of(self.rig, vm.name).vtpm
                assert device is not None and device.ek not in self.tpms, "it is no new one"
                self.tpms.add(device.ek)
                vm = self.vms[vm.name] = replace(vm, tpm=replace(vm.tpm, ek=device.ek))
            if vm.on:
                if vm.tpm is not None and not vm.tpm.marker:
                    self._seal(vm)

    def _ask(self, act: Act, fault: Fault | None = None) -> ProductError | None:
        try:
            if fault is None:
                self.rig.command(act.message, act.node)
            else:
                with fault.at_work():
                    self.rig.command(act.message, act.node)
        except ProductError as error:
            return error
        return None

    def _act(self) -> None:
        act, kind = self._drawn(), ""
        if self.draw.random() < 0.45:
            kind = self.draw.choice(FAULTS)
        fault = Fault(
            self.rig,
            act.node,
            kind,
            self.draw.randint(1, 24 if kind in ("crash", "power_loss") else 6),
        )
        what = f"{act.node}: {act.message} {kind} {fault.left}"
        self.log.append(what)
        error = self._ask(act, fault)
        after = act.effect(self.vms)
        self.log.append(f"   -> {error!r}")
        if not fault.happened:
            assert (error is not None) == (after is None), f"{what}: {error!r}"
        elif error is None:
            assert after is not None, f"{what} was not refused"
        worlds = [self.vms] if after is None else [after]
        if fault.happened and error is not None:
            worlds = [w for w in (self.vms, after, act.between(self.vms)) if w is not None]
        if fault.happened and not fault.falls:
            names = {
                getattr(act.message, "vm", VmName("")),
                getattr(act.message, "source", VmName("")),
            }
            self.untidy |= names
            if error is not None:
                self.unsure |= names
        if fault.happened and fault.falls:
            self._boot_after(act.node, worlds, what, kind)
        else:
            self._settle(worlds, what)
        if error is None and isinstance(act.message, HostPowerOnVm | HostPowerOffVm):
            self.unsure.discard(act.message.vm)
        if (
            self.draw.random() < 0.2
            and after is not None
            and not isinstance(act.message, HostCloneVm)
        ):
            again = act.effect(self.vms)  # a repeat, as of one who heard nothing
            error = self._ask(act)
            self.log.append(f"again -> {error!r}")
            assert (error is not None) == (again is None), f"{what}, again: {error!r}"
            self._settle([self.vms if again is None else again], f"{what}, again")

    def _pair(self) -> None:
        first = self._drawn()
        second = self._drawn(getattr(first.message, "vm", None))
        if second.node != first.node:
            return
        self.log.append(f"at once: {first.message}, {second.message}")
        done = self.rig.accepted([first.message, second.message], first.node)
        oks = [not isinstance(one, ProductError) for one in done]
        self.log.append(f"   -> {done}")
        worlds = []
        for one, other, order in ((first, second, oks), (second, first, oks[::-1])):
            then = one.effect(self.vms)
            middle = self.vms if then is None else then
            last = other.effect(middle)
            if [then is not None, last is not None] == order:
                worlds.append(middle if last is None else last)
        assert worlds, f"{self.log[-2]}: {done}"
        self._settle(worlds, self.log[-2])

    def _boot(self) -> None:
        node = self.draw.choice(HOSTS)
        way = self.draw.choice(("stop", "crash", "power_loss"))
        self.log.append(f"{node}: {way} and boot")
        self._boot_after(node, [self.vms], self.log[-1], way)

    def _boot_after(self, node: NodeName, worlds: list[World], what: str, way: str) -> None:
        rig = self.rig
        rig.power_off(node, way)
        assert rig.power_on(node).state is NodeRunState.RUNNING
        rig.connect(node)
        rig.sleep(60)
        booted: list[World] = [{}]
        out: list[World] = []
        for world in worlds:
            booted = [{}]
            for vm in world.values():
                ends = [vm]
                if vm.host == node:
                    ends = [vm.started() if vm.on else vm]
                    if vm.name in self.unsure:
                        ends = [vm.started(), vm.stopped()]
                booted = [{**before, end.name: end} for before in booted for end in ends]
            out += booted
        self.untidy -= {vm for vm in self.untidy if vm not in self.vms or self.vms[vm].host == node}
        self._settle(out, what)
        self.unsure -= {vm.name for vm in self.vms.values() if vm.host == node}

    # ---- what guests do -----------------------------------------------------------------------

    def _use(self) -> None:
        on = [vm for vm in self.vms.values() if vm.on]
        if not on:
            return
        vm = self.draw.choice(on)
        self.number += 1
        if vm.tpm is not None and self.draw.random() < 0.5:
            self._ask_tpm(vm)
        elif self.draw.random() < 0.3:
            marker = f"marker {vm.name} {self.number}".encode()
            self.rig.console(GuestWrite(vm=vm.name, marker=marker), vm.host)
            self.log.append(f"{vm.name} is filled with {marker!r}")
            if vm.keys:
                self.markers.add(marker)
            new = (*(((guest_seed(marker), 0),) * (len(vm.disks[0]) - 1)), vm.disks[0][-1])
            self._wrote(replace(vm, disks=(new, *vm.disks[1:])))
        else:
            unit = self.draw.randrange(len(vm.disks))
            at = self.draw.randrange(len(vm.disks[unit]) - 1)
            ask = GuestChallenge(vm=vm.name, nonce=b"n", blocks=(unit * SPAN + at,))
            answer = self.rig.console(ask, vm.host)
            seed, generation = vm.disks[unit][at]
            self.log.append(f"{vm.name} rewrites {ask.blocks}: {answer.generation}")
            assert answer.generation == generation + 1
            disk = (*vm.disks[unit][:at], (seed, generation + 1), *vm.disks[unit][at + 1 :])
            self._wrote(replace(vm, disks=(*vm.disks[:unit], disk, *vm.disks[unit + 1 :])))

    def _wrote(self, vm: Vm) -> None:
        """The same run, with other pages."""
        memory = model.memory_of(self.rig, vm.name, vm.host)
        assert memory is not None and vm.memory is not None
        assert model.secret_in(memory) == model.secret_in(vm.memory), "another run answers"
        self._settle([{**self.vms, vm.name: replace(vm, memory=memory)}], self.log[-1])

    def _seal(self, vm: Vm) -> None:
        self.number += 1
        marker = f"sealed {self.number}".encode()
        sealed = self.rig.console(GuestTpmSeal(vm=vm.name, marker=marker), vm.host)
        memory = model.memory_of(self.rig, vm.name, vm.host)
        tpm = Tpm(sealed.ek, sealed.ak, marker, sealed.counter)
        self.vms[vm.name] = replace(vm, tpm=tpm, memory=memory)

    def _ask_tpm(self, vm: Vm) -> None:
        assert vm.tpm is not None
        nonce = self.number.to_bytes(16, "big")
        answer = self.rig.console(GuestTpmChallenge(vm=vm.name, nonce=nonce), vm.host).answer
        self.log.append(f"{vm.name}: its virtual TPM counts {answer.counter}")
        flaw = flaw_of(
            answer,
            ak=PublicArea(vm.tpm.ak),
            secret=secret_of(vm.tpm.marker),
            nonce=nonce,
            last=vm.tpm.counter,
        )
        assert not flaw and answer.counter == vm.tpm.counter + 1, (flaw, answer.counter, vm.tpm)
        self._wrote(replace(vm, tpm=replace(vm.tpm, counter=answer.counter)))

    # ---- commands -----------------------------------------------------------------------------

    def _drawn(self, name: VmName | None = None) -> Act:
        vm = self.vms.get(name) if name else None
        vm = vm or self.draw.choice(list(self.vms.values()))
        kind = self.draw.choices(
            ("on", "off", "snapshot", "revert", "remove", "clone", "shallow", "deep"),
            (8, 6, 12, 16, 5, 7, 3, 2),
        )[0]
        return getattr(self, f"_to_{kind}")(vm)  # type: ignore[no-any-return]

    def _on_it(self, vm: Vm, change: Callable[[Vm], Vm | None]) -> Effect:
        def effect(world: World) -> World | None:
            of = world.get(vm.name)
            changed = None if of is None else change(of)
            return None if changed is None else {**world, vm.name: changed}

        return effect

    def _to_on(self, vm: Vm) -> Act:
        effect = self._on_it(vm, lambda of: of if of.on else of.started())
        return Act(HostPowerOnVm(vm=vm.name), vm.host, effect)

    def _to_off(self, vm: Vm) -> Act:
        return Act(HostPowerOffVm(vm=vm.name), vm.host, self._on_it(vm, Vm.stopped))

    def _to_snapshot(self, vm: Vm) -> Act:
        name, memory = self.draw.choice(NAMES), self.draw.random() < 0.6
        effect = self._on_it(
            vm, lambda of: of if name in of.kept else of.snapped(name, memory=memory)
        )
        return Act(HostCreateSnapshot(vm=vm.name, snapshot=name, memory=memory), vm.host, effect)

    def _to_revert(self, vm: Vm) -> Act:
        name = self.draw.choice([*vm.kept] * 4 + [*NAMES])
        off = self.draw.random() < 0.25

        def change(of: Vm) -> Vm | None:
            if name not in of.kept:
                return None
            resumed = of.kept[name].memory is not None and not off
            return of.as_in(name, resumed=resumed)

        def between(of: Vm) -> Vm | None:
            """Its disks, and powered as it was."""
            there = change(of)
            return there and replace(there, memory=FRESH if of.on else None)

        message = HostRevertToSnapshot(vm=vm.name, snapshot=name, suppress_power_on=off)
        return Act(message, vm.host, self._on_it(vm, change), self._on_it(vm, between))

    def _to_remove(self, vm: Vm) -> Act:
        name = self.draw.choice([*vm.kept] * 4 + [*NAMES])
        effect = self._on_it(vm, lambda of: of.without(name))
        return Act(HostRemoveSnapshot(vm=vm.name, snapshot=name), vm.host, effect)

    def _to_clone(self, vm: Vm) -> Act:
        if len(self.vms) >= MOST:
            return self._to_revert(vm)
        self.number += 1
        name, node = VmName(f"copy-{self.number}"), self.draw.choice((vm.host, *HOSTS))
        anew = self.draw.choice(KEYS) if vm.keys and self.draw.random() < 0.5 else None
        policy = self.draw.choice(list(TpmProvisionPolicy))

        def effect(world: World) -> World | None:
            of = world[vm.name]
            if of.on and node != of.host:
                return None
            tpm = of.tpm if policy is TpmProvisionPolicy.COPY or of.tpm is None else Tpm()
            keys = of.keys if anew is None else (anew,)
            return {**world, name: Vm(name, node, of.disks, tpm, None, keys)}

        message = HostCloneVm(
            vm=name, source=vm.name, recrypt=anew is not None, key=anew, tpm=policy
        )
        return Act(message, node, effect)

    def _to_shallow(self, vm: Vm) -> Act:
        return self._recrypt(vm, deep=False)

    def _to_deep(self, vm: Vm) -> Act:
        return self._recrypt(vm, deep=True)

    def _recrypt(self, vm: Vm, *, deep: bool) -> Act:
        """Refused with snapshots, or while it runs, if it is deep (REK-02)."""
        new = self.draw.choice([one for one in KEYS if one not in vm.keys])

        def change(of: Vm) -> Vm | None:
            if not of.keys or (deep and of.on):
                return None
            if of.keys != vm.keys:  # done before, or by another
                return of if of.keys == (new,) else None
            return None if deep and of.kept else replace(of, keys=(new,))

        old = vm.keys or (KEYS[0],)
        message = HostRecryptVm(vm=vm.name, old=old, provider=PROVIDER, key=new, deep=deep)
        return Act(message, vm.host, self._on_it(vm, change))

    # ---- the rest -----------------------------------------------------------------------------

    def _move(self) -> None:
        vm = self.draw.choice(list(self.vms.values()))
        target = B if vm.host == A else A
        self.log.append(f"{vm.name} moves to {target}")
        if vm.on:
            self.number += 1
            to: dict[str, Any] = {"vm": vm.name, "migration": f"m-{self.number}"}
            to |= {
                "stream": StreamKey(nonce_base=b"8 bytes."),
                "material": Sealed.of(KeyMaterial(b"k" * 32)),
            }
            self.rig.command(HostPrepareMigration(source=vm.host, **to), target)
            self.rig.command(HostMigrateVm(target=target, **to), vm.host)
        else:
            self.rig.command(HostUnregisterVm(vm=vm.name), vm.host)
            self.rig.command(HostRegisterVm(vm=vm.name), target)
        self._settle([{**self.vms, vm.name: replace(vm, host=target)}], self.log[-1])

    def _keyless(self) -> None:
        """VTPM-06: without its keys nothing changes, and it runs on."""
        act = self._drawn()
        keys = self.vms[getattr(act.message, "source", getattr(act.message, "vm", VmName("")))].keys
        if not keys or isinstance(act.message, HostPowerOffVm):
            return
        self.rig.command(RemoveKeys(keys=keys), act.node)
        error, after = self._ask(act), act.effect(self.vms)
        self.log.append(f"without {keys}: {act.message} -> {error!r}")
        if after is not None and after != self.vms:
            assert isinstance(error, EncryptionKeyRequired), error
        self._settle([self.vms], self.log[-1])
        self.rig.add_keys(*keys, node=act.node)

    def _damaged(self) -> None:
        """Another content of a file of a snapshot: refused, and nothing is lost."""
        have = [vm for vm in self.vms.values() if vm.kept]
        if not have:
            return
        vm = self.draw.choice(have)
        name = self.draw.choice(sorted(vm.kept))
        config = model.config_of(self.rig, vm.name)
        (kept,) = (one for one in config.snapshots if one.name == name)
        files = [disk_file(serial) for serial in kept.serials]
        files += [nvram_file(vm.name, kept.vtpm)] if kept.vtpm else []
        files += [vmem_file(vm.name, kept.memory)] * 3 if kept.memory else []
        folder, file = self.rig.array.folders[vm.name], self.draw.choice(files)
        right = bytes(folder[file])
        flipped = right[:50] + bytes([right[50] ^ 1]) + right[51:]
        wrong = [right[:-1], b"", right[: len(right) // 2], flipped]
        if file.endswith(".vmem"):
            wrong += [data for kept in self.older.values() for data in kept if data != right]
        folder[file][:] = self.draw.choice(wrong)
        error = self._ask(Act(HostRevertToSnapshot(vm=vm.name, snapshot=name), vm.host, dict))
        self.log.append(f"{vm.name} {name} {file} with other bytes -> {error!r}")
        assert isinstance(error, DatastoreFault | GuestFault), f"{self.log[-1]}"
        self._settle([self.vms], self.log[-1])
        folder[file][:] = right

    def _destroy(self) -> None:
        copies = [vm for vm in self.vms.values() if vm.name.startswith("copy") and not vm.on]
        if copies:
            vm = self.draw.choice(copies)
            self.log.append(f"{vm.name} is destroyed")
            self.rig.command(HostDestroyVm(vm=vm.name), vm.host)
            self.vms.pop(vm.name)
