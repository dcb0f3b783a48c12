"""Bad labs: labs in which what a fault does, or what takes it back, silently does nothing.

Each answers as if all were well. Whether an act is carried out is decided by ``Bad.allows``, for
the whole table of faults alike, so a new fault needs nothing here: it is played by its example.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from chaos.faults import FAULTS
from chaos.faults.base import Fault
from chaos.yaml_file import read_yaml
from protocol.messages.agent import LinkRule, NodeRunState, NodeStatus, TpmAct, TpmActed
from protocol.messages.base import Repeat, Request
from protocol.messages.host.session import Esxcli, EsxcliResult
from protocol.messages.kms.keys import Destroy, Revoke
from protocol.messages.vcenter.providers import KmsClusterUnregistered, UnregisterKmsCluster
from protocol.terms import NodeName
from tests.chaos.worlds import World

Values = dict[str, Any]

_WAYS: Final[dict[str, tuple[Values, ...]]] = {
    "link.cut": (
        {"between": ["vcenter", "kms"]},
        {"between": ["role:esxi", "vcenter"], "dir": "to"},
        {"between": ["role:esxi", "vcenter"], "dir": "from"},
    ),
    "link.delay": (
        {"between": ["vcenter", "role:esxi"], "base": "300ms", "jitter": "20ms"},
        {"between": ["vcenter", "kms"], "base": "1s", "dir": "to"},
        {"between": ["vcenter", "kms"], "base": "720h", "jitter": "720h"},
        {"between": ["vcenter", "kms"], "base": "0s", "jitter": "2s"},
    ),
    "link.loss": (
        {"between": ["vcenter", "kms"], "p": "30%"},
        {"between": ["role:esxi", "vcenter"], "p": "100%", "dir": "to"},
    ),
    "link.dup": (
        {"between": ["vcenter", "kms"], "p": "50%"},
        {"between": ["role:esxi", "vcenter"], "p": "100%", "dir": "to"},
    ),
    "link.reset": (
        {"between": ["vcenter", "kms"]},
        {"between": ["vcenter", "kms"], "dir": "to"},
        {"between": ["vcenter", "kms"], "dir": "from"},
    ),
    "link.stall": (
        {"between": ["vcenter", "kms"]},
        {"between": ["vcenter", "kms"], "dir": "to"},
        {"between": ["vcenter", "kms"], "dir": "from"},
    ),
    "proc.kill": ({"on": ["esxi-001", "kms"]},),
    "proc.pause": ({"on": ["esxi-001", "kms"]},),
    "host.reboot": ({"on": "esxi-[001-002]"},),
    "host.power_loss": ({"on": "role:esxi"},),
    "site.power_loss": ({"site": "main", "stagger": "10s"},),
    "tpm.clear": ({"on": "esxi-[001-002]"}, {"on": "esxi-[001-002]", "latent": True}),
    "tpm.swap": ({"on": "esxi-[001-002]"},),
    "tpm.dead": ({"on": "esxi-[001-002]"},),
    "host.tpm_disabled": ({"on": "esxi-[001-002]"},),
    "host.hostile": ({"on": "esxi-[001-002]"},),
    "host.exec_option_removed": ({"on": "esxi-[001-002]"},),
    "host.boot_measure": (
        {"on": "esxi-[001-002]", "secure_boot": False},
        {"on": "esxi-[001-002]", "version": "9.9"},
        {"on": "esxi-[001-002]", "build": "24585383"},
        {"on": "esxi-[001-002]", "event": "tampered module", "pcr": 5},
    ),
    "broker.restart": ({},),
    "broker.down": ({"on": 2},),
    "broker.route_cut": ({"between": [1, 3]},),
    "clock.skew": (
        {"on": ["esxi-001", "kms"], "ahead": "10m"},
        {"on": ["esxi-001", "kms"], "behind": "1h"},
    ),
    "vcenter.down": ({},),
    "kms.key_state": (
        {"vm": ["vm-01", "vm-02"], "state": "deactivate"},
        {"vm": ["vm-01", "vm-02"], "state": "compromise"},
        {"vm": ["vm-01", "vm-02"], "state": "destroy"},
        {"vm": ["vm-01", "vm-02"], "state": "destroy", "backup": "before"},
    ),
    "kms.reject": (
        {"on": "role:kms"},
        {"on": "role:kms", "operations": "Get", "reason": "Permission Denied", "p": "50%"},
        {"on": "role:kms", "operations": ["Activate"], "vm": ["vm-01", "vm-02"]},
    ),
    "kms.slow": (
        {"on": "role:kms", "takes": "200ms", "distribution": "exponential", "share": "50%"},
        {"on": "role:kms", "takes": "1s", "factor": 3},
    ),
    "kms.failover": ({"to": "kms-2"},),
    "kms.rollback": ({"on": "kms", "backup": "before"},),
    "provider.delete": ({},),
    "kms.certificate": (
        {"of": "server", "becomes": "replaced"},
        {"of": "server", "becomes": "expired", "on": "kms-2"},
        {"of": "client", "becomes": "replaced"},
        {"of": "client", "becomes": "expired"},
        {"of": "client", "becomes": "revoked"},
        {"of": "client", "becomes": "key-lost"},
    ),
}
"""Values by which a fault is played, on two nodes, links or keys wherever it can have two."""


def values_of_example(fault: type[Fault]) -> Values:
    """The fields of a fault's own example."""
    values: Values = read_yaml(f"{{{fault.example}}}").data  # in which ``on`` is a name
    return values


PLAYED: Final[dict[str, tuple[Values, ...]]] = {
    fault.kind: _WAYS.get(fault.kind) or (values_of_example(fault),)
    for fault in FAULTS
    if not fault.at_point
}
"""How every fault is played: in more ways than its example where those are listed."""

LOOKS: Final = frozenset(
    "mode directory monotonic in_lab_s sleep status statuses respawned paused rules canary "
    "firmware_of broker_up server_up server_nodes routed log_lines ask ask_each tpm".split()
)
"""Verbs of a lab that only look; ``ask`` and ``tpm`` do so for some of what they are given."""

ACTS: Final = frozenset(
    "power_on power_off kill pause resume put_rules drop_rules firmware skew slow disk "
    "broker_stop broker_start server_stop server_start route_cut route_mend".split()
)


class How(StrEnum):
    """How much of what is asked of it a bad lab leaves undone."""

    NOTHING = "nothing is done"
    ALL_BUT_LAST = "the last node, link or key is left out"


class Bad:
    """A lab that is sound until ``how`` is set, and then only says that it obeys."""

    def __init__(self, world: World) -> None:
        self._lab = world.lab
        self._hidden: set[str] = set()
        self.how: How | None = None
        self.spared: frozenset[str] = frozenset()

    def spare(self, fault: Fault, keys: Sequence[str] = ()) -> None:
        """Of what ``fault`` touches (or of ``keys``), the last is left out from now on."""
        touched = [*fault.touches()]
        self.spared = frozenset({touched[-1], *keys[-1:]} if touched else keys[-1:])

    def allows(self, about: object) -> bool:
        """Whether an act on ``about`` (a node, or a key) is really carried out."""
        match self.how:
            case None:
                return True
            case How.NOTHING:
                return False
            case How.ALL_BUT_LAST:
                return str(about) not in self.spared

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._lab, name)
        if name not in ACTS:
            return found

        async def act(*given: Any, **options: Any) -> Any:
            if self.allows(given[0] if given else None):
                return await found(*given, **options)
            return None

        return act

    async def power_on(self, node: NodeName, *given: Any, **options: Any) -> NodeStatus:
        if self.allows(node):
            return await self._lab.power_on(node, *given, **options)
        status = await self._lab.status(node)
        return msgspec.structs.replace(status, state=NodeRunState.RUNNING, boot=status.boot + 1)

    async def power_off(self, node: NodeName, way: str) -> NodeStatus:
        if self.allows(node):
            return await self._lab.power_off(node, way)
        status = await self._lab.status(node)
        return msgspec.structs.replace(status, state=NodeRunState.OFF, ended=way)

    async def put_rules(self, rules: Sequence[LinkRule]) -> None:
        real = [r for r in rules if self.allows(r.src) and self.allows(r.dst)]
        await self._lab.put_rules(real)

    async def drop_rules(self, rule_id: str) -> None:
        """They leave the list, and those that are spared stay in force where the nodes are."""
        kept = [
            rule
            for rule in self._lab.rules()
            if rule.id == rule_id and not (self.allows(rule.src) and self.allows(rule.dst))
        ]
        await self._lab.drop_rules(rule_id)
        self._hidden.discard(rule_id)
        if kept:
            await self._lab.put_rules(kept)
            self._hidden.add(rule_id)

    def rules(self) -> tuple[LinkRule, ...]:
        return tuple(rule for rule in self._lab.rules() if rule.id not in self._hidden)

    async def ask(self, node: NodeName, message: Request[Any], *, within_s: float = 30.0) -> Any:
        about = message.key_id if isinstance(message, Revoke | Destroy) else node
        if message.repeat is Repeat.READ or self.allows(about):
            return await self._lab.ask(node, message, within_s=within_s)
        if isinstance(message, Esxcli):
            if "list" in message.arguments:
                return await self._lab.ask(node, message, within_s=within_s)
            return EsxcliResult(exit_code=0, output="")
        if isinstance(message, UnregisterKmsCluster):
            return KmsClusterUnregistered()
        return None

    async def tpm(self, node: NodeName, act: TpmAct, label: str = "") -> TpmActed:
        done = act if self.allows(node) else TpmAct.INFO
        return await self._lab.tpm(node, done, label)
