"""What the page says of one host, VM, server or link: why it is so, and what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from chaos.lab import Directory
from chaos.report.filling import fill_part
from lab.cli.watch.web.acts import (
    Offer,
    offer,
    offers_for_link,
    offers_for_node,
    offers_in,
)
from lab.cli.watch.web.parts import TEMPLATE, rules_between
from lab.schema.answers import Node, Reason, RuledLink
from lab.schema.commands import DescribeHost, DescribeVm, GetLinks, GetNodes
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import Executor
from protocol.terms import PowerState, Role

KINDS: Final = ("host", "vm", "server", "link")


async def drawer(lab: Executor, directory: Directory, of: str, of_lab: str) -> str:
    """The drawer for ``host:NAME``, ``vm:NAME``, ``server:NAME`` or ``link:A,B``; an end of a link
    is a node or a cluster. Raises ``KeysteadError``, KS-USE-002 for what is not there."""
    kind, _, name = of.partition(":")
    match kind:
        case "host":
            return await _host(lab, name, of_lab)
        case "vm":
            return await _vm(lab, name, of_lab)
        case "server":
            node = await _find_node(lab, name)
            offers = offers_for_node(name, node.state, host=False)
            return _draw(name, str(node.state.value), _screen(node), offers, of_lab)
        case "link":
            return await _link(lab, directory, name, of_lab)
    raise KeysteadError("KS-USE-002", f"{of}: one of {', '.join(KINDS)}, and a name")


async def _host(lab: Executor, name: str, of_lab: str) -> str:
    found: Any = await lab.do(DescribeHost(name))
    node: Node = found.machine
    state = str(node.state.value)
    if found.vcenter is not None:
        state += f", {found.vcenter.connection.value}"
        if found.vcenter.crypto_state is not None:
            state += f", {found.vcenter.crypto_state.value}"
    facts = {
        "keys in memory": sum(key.cached for key in found.keys),
        "in the TPM's keeping": sum(key.stored for key in found.keys),
        "TPM": str(node.tpm.value),
        "boot": node.boot,
    }
    offers = offers_for_node(name, node.state, host=True)
    return _draw(name, state, found.reasons or _screen(node), offers, of_lab, facts)


async def _vm(lab: Executor, name: str, of_lab: str) -> str:
    found: Any = await lab.do(DescribeVm(name))
    vm = found.vcenter
    words = (
        [] if vm is None else [vm.power.value, vm.crypto.value if vm.crypto else "not encrypted"]
    )
    is_on = vm is not None and vm.power is PowerState.ON
    offers = [offer("Power off" if is_on else "Power on", f"vm {'off' if is_on else 'on'} {name}")]
    if vm is not None and vm.missing:
        offers.append(offer("Unlock", f"vm unlock {name}"))
    facts = {
        "host": found.host,
        "keys": len(found.keys),
        "missing": len(vm.missing) if vm is not None else "nobody can say",
        "stored by its host": sum(bool(key.stored) for key in found.keys),
    }
    return _draw(name, ", ".join(words), found.reasons, offers, of_lab, facts)


async def _link(lab: Executor, directory: Directory, name: str, of_lab: str) -> str:
    a, _, b = name.partition(",")
    ends = [_find_end(directory, one) for one in (a, b)]
    links: Any = await lab.do(GetLinks())
    nodes = [nodes for _, nodes in ends]
    laid: Sequence[RuledLink] = [
        link
        for link in links.items
        if link.rules and any(link.src in x and link.dst in y for x, y in (nodes, nodes[::-1]))
    ]
    ids = sorted({rule.id for link in laid for rule in link.rules})
    rules = rules_between(laid, *nodes)
    offers = offers_for_link(ends[0][0], ends[1][0], ids)
    return _draw(f"{a} – {b}", "; ".join(rules) or "up", (), offers, of_lab)


def _find_end(directory: Directory, name: str) -> tuple[str, frozenset[str]]:
    """An end of a link as an experiment names it, with its nodes; KS-USE-002 when there is none."""
    hosts = frozenset(
        str(e.node) for e in directory.nodes if e.role is Role.ESXI and e.cluster == name
    )
    if hosts:
        return f"cluster:{name}", hosts
    if any(entry.node == name for entry in directory.nodes):
        return name, frozenset({name})
    raise KeysteadError("KS-USE-002", f"the lab has no node and no cluster {name}")


async def _find_node(lab: Executor, name: str) -> Node:
    nodes: Any = await lab.do(GetNodes())
    for node in nodes.items:
        if node.node == name:
            found: Node = node
            return found
    raise KeysteadError("KS-USE-002", f"the lab has no node {name}")


def _screen(node: Node) -> tuple[Reason, ...]:
    return (Reason(node.screen, ""),) if node.screen else ()


def _draw(
    name: str,
    state: str,
    reasons: Sequence[Reason],
    offers: Sequence[Offer],
    of_lab: str,
    facts: dict[str, Any] | None = None,
) -> str:
    told = [(reason, offers_in(reason.cure)) for reason in reasons]
    return fill_part(TEMPLATE, "drawer", name, state, told, tuple(offers), of_lab, facts or {})
