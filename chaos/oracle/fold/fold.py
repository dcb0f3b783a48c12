"""The facts of a run, folded from its history.

Faults, operations and observations are records. A fault that starts or ends, and an operation that
ended ``info``, leaves facts open, which allows more. Observations close them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chaos.history import Record
from chaos.oracle.effects import AT_NEXT_BOOT, FaultEffect, Takes
from chaos.oracle.facts import KIND_OF, Change, KeyProviderKind, Question
from chaos.oracle.fold.disturbances import Disturbance, FaultPhase
from chaos.oracle.fold.hosts import FoldedHost, FoldedTrust, Services
from chaos.oracle.fold.known import NO, OPEN, YES, Known, either
from chaos.oracle.fold.listings import FIRST, NONE, ProviderListing
from chaos.oracle.fold.operations import PERSISTENCE
from chaos.oracle.fold.settings import FoldSettings
from chaos.oracle.fold.upkeep import Upkeep
from chaos.oracle.fold.vms import (
    FOLLOWED,
    MOVES,
    ON,
    POWERS,
    RECRYPTS,
    TAKEN,
    FoldedVm,
    keys_by_host,
)
from chaos.oracle.fold.ways import RUNNING, KeyWay, NodeSight, Realm, WayParts
from chaos.oracle.terms import Letter

OPERATIONS = ("invoke", "ok", "fail", "info")
RECONNECT = "host.reconnect"
MAINTENANCE = ("host.enter-maintenance", "host.exit-maintenance")
CHANGED_S = 3.0
"""So long after a change of firmware it is open whether a boot had it: nodes are seen each second,
or their record says after how long (``unseen``)."""


class Fold(Upkeep):
    """Takes the records of one run in their order."""

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        super().__init__(effects)
        self._looked = False
        self._looked_at = -1.0  # when the last look ended
        self._changed: dict[str, float] = {}  # when the firmware of a host was last changed
        self._flowed: dict[tuple[str, str], tuple[object, ...]] = {}
        self._marks: dict[str, frozenset[str]] = {}  # VMs that each vCenter has as locked
        self._carried: tuple[float, int] = (-1.0, 0)  # when all keys on their way were looked at

    # ---- records ----------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """Take one record. The observations of a look narrow the facts with the record after it.
        Until then ``host_allowance`` and ``vm_allowance`` are what the look is compared with."""
        if self._looked:
            self._narrow()
        self.forget()
        self.now, self.impossible, self.misplaced = record.t, frozenset(), ""
        if record.type == "ok" and "key" in record.data:
            self._take_made_key(f"{record.data.get('provider')}/{record.data['key']}")
        found = self.faults.take(record)
        if found is not None:
            self._fault(found, record)
        elif record.op == "unattended":
            self._take_unattended(record.t)
        elif record.type in OPERATIONS and self.administers(record):
            self._look_at_ways(record.t)
            self._keys_on_their_way()
        elif record.op in (*POWERS, *MOVES, *RECRYPTS) and record.node in self.beyond:
            pass  # it is not followed
        elif record.op in POWERS and record.type in OPERATIONS:
            if record.op in RECRYPTS:
                self._take_recrypt(record)
            self._operation(record)
        elif record.op in MOVES and record.type in OPERATIONS:
            self._take_move(record)
        elif record.op in RECRYPTS and record.type in OPERATIONS:
            self._take_recrypt(record)
        elif record.op.startswith(PERSISTENCE) and record.type in OPERATIONS:
            self._persistence(record)
        elif record.op in MAINTENANCE and record.node in self.hosts:
            self.hosts[record.node].maintenance(begins=record.op == MAINTENANCE[0])
        elif record.op in TAKEN and record.type == "ok":
            self.vms.pop(record.node, None)
            self._keys.clear()
        elif record.op == RECONNECT and record.type in ("ok", "info"):
            self._take_reconnect(record)
        elif record.op == "vm.come_and_go" and record.type in ("ok", "info"):
            self._give_up(str(record.data.get("made", "")))
        elif record.type in ("ok", "info") and "action" in record.data:
            self.lost = self.lost or ("" if record.op in FOLLOWED else record.op)
        elif record.type == "state":
            match record.op:
                case "staging":
                    self._staging(record.data)
                case "node":
                    self._node(record)
                case "host" if record.node in self.hosts:
                    listings = self.realms.at(record.node).listings
                    listings.register_key(str(record.data.get("key") or ""), record.t)
                    self.hosts[record.node].saw(record.data, record.seq)
                    self._keys.clear()
                case "vm" if record.node not in self.beyond:
                    self._vm(record)
                case "marks":
                    self._take_marks(record)
                case "look":
                    self._look()
        self._watch_starts()

    def _take_reconnect(self, record: Record) -> None:
        """A workload connects vCenter anew to a host; one that stays disconnected may be left alone
        for good, until a later try ends well."""
        host = str(record.data.get("host", ""))
        if host in self.hosts:
            led = self.realms.at(host).ways.led
            if record.type == "info" or host in led:
                led[host] = YES if record.type == "ok" else OPEN
                self._look_at_ways(record.t)
                self._keys_on_their_way()
        elif record.type == "info":
            self.lost = self.lost or record.op

    def _take_made_key(self, key: str) -> None:
        """Which vCenter has had it made is not told."""
        for realm in self.realms.all:
            realm.listings.register_key(key, self.now)

    def _take_unattended(self, now: float) -> None:
        for realm in self.realms.all:
            realm.listings.open_deletions(self.faults, now)
        self._look_at_ways(now)
        self._keys_on_their_way()

    def _take_marks(self, record: Record) -> None:
        self._marks[record.node] = frozenset(record.data["locked"])
        self.marked = frozenset().union(*self._marks.values())
        self.marked_at = record.seq

    def _vm(self, record: Record) -> None:
        """What a host says of a VM; it may be registered still where it ran before (HA-01), or was
        before it moved to a host that has not spoken of it yet, and is down (MOB-07)."""
        vm, runs = self.vms.setdefault(record.node, FoldedVm()), record.data["power"] == ON
        there = self.nodes.get(vm.host)
        left = vm.seq > 0 and vm.boot < 0 and there is not None and there.state != RUNNING
        elsewhere = self.observe_vm(record.node) == RUNNING or left
        if runs or record.data["host"] == vm.host or not elsewhere:
            if vm.host not in ("", record.data["host"]):
                self._forget_keys(vm, str(record.data["host"]))
            for key in record.data["keys"]:
                at = self.realms.at(str(record.data["host"]))
                at.listings.register_key(key, record.t, old=vm.seq == 0)
            vm.saw(record.data, record.seq)
            self._keys.clear()

    def _staging(self, data: dict[str, Any]) -> None:
        self.settings = FoldSettings.of(data.get("knobs", {}))
        self.realms.stage(data["vcenters"], data.get("leads", {}))
        for host, cluster in data["clusters"].items():
            self.hosts[host] = FoldedHost(
                cluster=cluster,
                secure_boot=data["secure_boot"].get(host),
                settings=self.settings,
                origins=self.realms.at(host).listings.origins,
            )
        kinds = {KIND_OF.get(found["type"]) for found in data["providers"]}
        if None in kinds:
            self.lost = "a provider of a type that is not known"
        self._take_trusted(data)
        self.faults.by_kmip = frozenset(data.get("by_kmip", ()))
        self.available = frozenset(data.get("ha", ()))
        self.placed = frozenset(data.get("drs", ()))
        if self.several and kinds - {KeyProviderKind.STANDARD}:
            self.lost = "several vCenters with providers that are no standard ones"
        if self.several and "leads" not in data:
            self.lost = "which vCenter brings a host its keys"
        for realm in self.realms.all:
            realm.ways.asking = frozenset(
                host for host in data.get("vsan", ()) if self.realms.at(host) is realm
            )
        for found in data["providers"]:
            realm = self.realms.of(found)
            realm.listings.there[found["name"]] = ProviderListing()
            if KIND_OF.get(found["type"]) is KeyProviderKind.STANDARD:
                servers = tuple(found["servers"])
                realm.ways.servers = {**realm.ways.servers, found["name"]: servers}
            if found.get("default"):
                realm.defaults |= {found["name"]}
        self._native(data)

    def _native(self, data: dict[str, Any]) -> None:
        told = data.get("without_tpm")
        self._without_tpm = None if told is None else frozenset(told)
        for found in data["providers"]:
            if KIND_OF.get(found["type"]) is KeyProviderKind.NATIVE:
                required = bool(found.get("tpm_required", False))
                self.knows_native(found["name"], FIRST | NONE, tpm_required=required)

    def _take_trusted(self, data: dict[str, Any]) -> None:
        services, ways = data.get("services", {}), self.realms.first.ways
        for found in data["providers"]:
            if KIND_OF.get(found["type"]) is KeyProviderKind.TRUSTED:
                ways.trusted[found["name"]] = Services.of(found, services)
        if ways.trusted:
            ways.caches_primary_keys = self.settings.kps_primary_key_cache
            for name, host in self.hosts.items():
                host.trust = ways.trust[name] = FoldedTrust(frozenset(ways.trusted))

    def _fault(self, found: Disturbance, record: Record) -> None:
        takes = found.effect.takes
        if Takes.PROVIDER in takes:
            self.realms.of(found.values).listings.fault(found, record, self.faults)
        for name, host in self.hosts.items():
            if not found.about(name):
                continue
            if AT_NEXT_BOOT.intersection(takes):
                self._changed[name] = record.t
            elif Takes.TPM in takes:
                self._tpm(host, found, record)
            if host.trust is not None and (Takes.TPM in takes or Takes.NEXT_TPM in takes):
                host.trust.sealed_anew = True
            sealed_anew = any(other.about(name) for other in self.faults.taking(Takes.TPM))
            changed = any(
                other.about(name)
                for other in self.faults.taking(Takes.NEXT_POLICY, Takes.NEXT_MEASUREMENTS)
            )
            host.unsure |= sealed_anew and changed
        self._look_at_ways(record.t)
        self._keys_on_their_way()

    def _look_at_ways(self, now: float, seen: str = "") -> None:
        """See ``Ways.look``."""
        for realm in self.realms.all:
            realm.ways.look(now, seen)

    def _tpm(self, host: FoldedHost, found: Disturbance, record: Record) -> None:
        """It is done with the power off; a host that was on has booted when it is there, and
        after its cure it has booted twice. A latent one is met by the next boot."""
        if found.values.get("latent") and found.phase is not FaultPhase.ENDING:
            return
        if record.type == "fault" and found.phase is FaultPhase.ON and host.sealed:
            host.stops, host.change = YES, Change.TPM
        elif record.type == "heal" and record.data.get("verified"):
            host.stops, host.change = NO, Change.NOTHING
        elif found.phase is not FaultPhase.ON:
            host.stops = OPEN

    def _node(self, record: Record) -> None:
        state, boot = str(record.data["state"]), int(record.data["boot"])
        before = self.nodes.get(record.node)
        began = before.began if before is not None and before.boot == boot else record.t
        self.nodes[record.node] = NodeSight(state, boot, record.t, record.seq, began)
        host = self.hosts.get(record.node)
        if host is not None and (before is None or before.boot != boot):
            if before is not None:
                host.boot_into(boot)
                recent = self._was_changed_recently(record)
                host.stops = self._stop_of(record.node, host, recent=recent)
                if host.trust is not None:
                    host.trust.boot(changed=recent or self._measures_otherwise(record.node))
                for vm in self.vms.values():
                    if vm.host == record.node:
                        vm.host_booted(others_may_run_it=record.node in self.available)
            host.boot, host.lives = boot, host.lives + 1
            for realm in self.realms.all:
                realm.ways.boot(record.node)
        self._look_at_ways(record.t, record.node)
        self._keys_on_their_way(record.node)

    def _measures_otherwise(self, name: str) -> bool:
        """Whether the boot that has just begun may measure what no service knows (ATT-02)."""
        return any(found.about(name) for found in self.faults.taking(*AT_NEXT_BOOT))

    def _was_changed_recently(self, record: Record) -> bool:
        """Whether the boot that this record shows first may have begun before the last change of
        the host's firmware."""
        open_s = CHANGED_S + float(record.data.get("unseen", 0.0))
        return record.t - self._changed.get(record.node, -math.inf) < open_s

    def _stop_of(self, name: str, host: FoldedHost, *, recent: bool) -> Known:
        """Whether the boot that has just begun had to end at the screen (R18)."""
        host.change, stops = Change.NOTHING, NO
        for found in self.faults.taking(Takes.TPM, *AT_NEXT_BOOT):
            if not found.about(name):
                continue
            takes = found.effect.takes
            change = self.settings.change_by(takes, found.values, host.secure_boot)
            if change in (Change.POLICY, Change.TPM) and host.sealed:
                # Whether it is required, and still counts after a host was installed anew.
                known = not found.effect.if_required and found.begun > host.wiped_at
                host.change, stops = change, either((stops, found.holds if known else OPEN))
        return OPEN if recent and host.sealed else stops

    def _narrow(self) -> None:
        """Learn from what was seen, where it was allowed: another thing is a breach, no lesson."""
        self._looked = False
        for name, host in self.hosts.items():
            seen = self.observe_host(name)
            if (
                host.key
                and seen in ("safe", "prepared")
                and seen in self.host_allowance(name).states
            ):
                host.observe(host.key, held=seen == "safe")
        for name, vm in self.vms.items():
            seen = self.observe_vm(name)
            if not seen or seen not in self.vm_may_be(name):
                continue
            if vm.running and self.now > vm.adrift_until:
                vm.ran_boot = self.nodes[vm.host].boot
            for key in vm.keys:
                missing = key in vm.missing
                self.hosts[vm.host].hear_of_vm(key, missing=missing, running=vm.running)

    def _look(self) -> None:
        self._looked = True
        self._keys_on_their_way()
        self._look_for_lost()
        for name, vm in self.vms.items():
            if self.observe_vm(name) and vm.ended_at < self._looked_at:
                vm.hear_again()  # a look begins when the one before has ended
                vm.settle(self.now)
            host = self.hosts.get(vm.host)
            if host is not None and self.tries_to_start(vm):
                found = self.outcomes(Question.START, vm, host)
                vm.tries |= found
                works = all(one.letter is Letter.OK for one in found)
                vm.due |= (
                    works and vm.awaited and self.surely_tries(vm) and bool(self.observe_vm(name))
                )
        self._looked_at = self.now

    # ---- keys -------------------------------------------------------------------------------

    def _keys_on_their_way(self, seen: str = "") -> None:
        """What vCenter may have brought to hosts, or taken away, until now; to ``seen`` only when
        it is a host, and nothing but that node has changed since all were looked at."""
        moment = (self.now, self.faults.version)
        only = seen in self.hosts and self._keys and moment == self._carried
        self._carried = moment
        if not self._keys:
            self._keys = keys_by_host(self.hosts, self.vms)
            self._flowed.clear()
        source = (self.faults.version if any(self.faults.taking(Takes.KEYS)) else 0, self.acts)
        evicted = {
            (realm.vcenter, provider): self.may_evict(provider, realm)
            for realm in self.realms.all
            for provider in realm.providers
        }
        hosts = {seen: self.hosts[seen]} if only else self.hosts
        self._kdks_on_their_way(hosts)
        for name, host in hosts.items():
            realm = self.realms.at(name)
            for provider, keys in self._keys[name].items():
                way = realm.ways.to(name, provider)
                taken = evicted.get((realm.vcenter, provider), NO)
                own = host.native.get(provider)
                if not way.could and taken == NO and own is None:
                    continue
                of_trust = provider in realm.ways.trusted
                settled = way.could and (self.asked(way) if of_trust else self.settled(way))
                if taken == YES and not self.surely_evicted(provider, realm, way):
                    taken = OPEN
                kdk = None if own is None else own.kdk
                now = (host.moved, way.could, settled, taken, source, kdk, way.brings)
                if self._flowed.get((name, provider)) != now:  # else all of it is known already
                    self._flowed[name, provider] = now
                    self._move(host, keys, realm, way, settled=settled, taken=taken)
                way.could &= taken != YES  # nothing that came before is there
                realm.ways.forget(way, self.now)

    def _move(
        self,
        host: FoldedHost,
        keys: tuple[str, ...],
        realm: Realm,
        way: KeyWay,
        *,
        settled: bool,
        taken: Known,
    ) -> None:
        for key in keys:
            own = host.derivation(key)
            if own is not None:
                origin = realm.listings.origin(key)
                listing = realm.listings.of(key.partition("/")[0])
                right = bool(origin & listing.lately(self.now))
                surely = settled and len(origin) == 1 and way.brings == origin
                host.derive(key, own, asked=way.could and right, surely=surely)
            elif way.could and (usable := self.usable(key)) != NO:
                # A trusted host asks for the keys of its VMs when it needs them.
                trust = None if isinstance(way.parts, WayParts) else host.trust
                comes = trust is None or (key == host.key and trust.known == YES)
                host.bring(key, surely=usable == YES and settled and comes)
            if taken != NO:
                host.take_away(key, surely=taken == YES)

    def _kdks_on_their_way(self, hosts: Mapping[str, FoldedHost]) -> None:
        """Which KDKs vCenter may have pushed to these hosts by now, or had removed from them."""
        for name, host in hosts.items():
            realm = self.realms.at(name)
            for provider, own in host.native.items():
                come, gone = realm.ways.to(name, provider), realm.ways.away(name, provider)
                if come.could:
                    settled, listing = self.settled(come), realm.listings.of(provider)
                    kdks = listing.now if settled else listing.lately(self.now)
                    own.comes(kdks, surely=settled)
                if gone.could:
                    own.goes(surely=self.settled(gone))
                realm.ways.forget(come, self.now)
                realm.ways.forget(gone, self.now)
