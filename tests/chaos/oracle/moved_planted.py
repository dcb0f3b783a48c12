"""Bugs to plant into what the fold knows of VMs that are started by people, and that change their
host: a method, the place in its text, what stands there instead, and the run that shows it."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.operations import Availability, FoldedOperations
from chaos.oracle.fold.vms import FoldedVm

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        FoldedOperations._watch_starts,
        "self._may_start(vm)",
        "False",
        "powered on when its key could come for a moment",
    ),
    (
        FoldedOperations._operation,
        "or not on",
        "",
        "off, though it could not be started",
    ),
    (
        FoldedOperations._operation,
        'record.data.get("power", ON) == ON',
        "True",
        "running, and off after it went back",
    ),
    (
        FoldedOperations._operation,
        "vm.end(number, record.type, record.t, boot",
        'vm.end(number, "info", record.t, boot',
        "stopped to go back, and then not let",
    ),
    (
        FoldedOperations._operation,
        "not could",
        "False",
        "native: powered on from a key that was evicted",
    ),
    (
        Fold._vm,
        "self.observe_vm(record.node) == RUNNING or left",
        "left",
        "restarted elsewhere, and off there",
    ),
    (
        Fold._vm,
        "self.observe_vm(record.node) == RUNNING or left",
        "self.observe_vm(record.node) == RUNNING",
        "goes on: started where it had moved to, which fell before it was heard",
    ),
    (
        FoldedOperations._came,
        "vm.came_to(host, self.nodes[host].boot)",
        "vm.host = host",
        "migrated, and off when its new host tells of it",
    ),
    (
        FoldedOperations._take_move,
        "record.op == MIGRATE",
        "False",
        "migrated, and locked on its new host",
    ),
    (
        FoldedOperations._came,
        "if ran",
        "if True",
        "off after a boot, and migrated so",
    ),
    (
        FoldedVm.end_migration,
        "self.adrift_until = now + SETTLED_S",
        "pass",
        "nobody knows whether it was migrated, and it is off where it was",
    ),
    (
        FoldedVm.end_migration,
        'kind == "info"',
        "True",
        "a migration that was refused, and it is off",
    ),
    (
        Fold._narrow,
        "and self.now > vm.adrift_until",
        "",
        "nobody knows whether it was migrated, and it is off where it was",
    ),
    (
        FoldedVm.host_booted,
        "and not self.unmoved",
        "",
        "nobody knows whether it was migrated, and its new host boots",
    ),
    (
        FoldedVm.end_recrypt,
        "self.rekeyed.discard(number)",
        "pass",
        "recrypted long ago, without its keys, and powered on",
    ),
    (
        FoldedVm.unsure,
        "bool(self.rekeyed)",
        "False",
        "started while its key was being changed",
    ),
    (
        FoldedOperations._take_recrypt,
        "self.hosts[vm.host].observe(key, held=True)",
        "pass",
        "recrypted, and locked before its host tells of its key",
    ),
    (
        Availability._look_for_lost,
        "vm.host in self.available",
        "True",
        "failed, and there is no HA",
    ),
    (
        Availability._is_lost,
        "and not alone",
        "",
        "shut down in order, and nobody restarts it",
    ),
    (
        Availability._is_lost,
        "vm.to_run == YES",
        "True",
        "failed, and it was not to run",
    ),
    (
        Availability._look_for_lost,
        "min(vm.lost_since, self.now)",
        "self.now",
        "failed, and nobody restarts it",
    ),
    (
        Availability._restarts,
        "one.letter is Letter.OK",
        "one.letter is not None",
        "failed, and nobody has the key",
    ),
    (
        Availability._restarts,
        "up and long",
        "up",
        "failed, and the other one has just booted",
    ),
    (
        Availability.restart_due,
        "vm.lost_since + self.settings.restart_s",
        "vm.lost_since",
        "failed, and restarted in time",
    ),
)
