"""Selectors: names, ``role:kms``, ``site:edge``, ``provider:p``, ranges, shares, lists, maps.

``25% of role:esxi`` and ``3 of site:edge`` are drawn from a seeded stream, and the names that
came out are written into the plan. Results keep the order of the topology file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.lab import Directory
from protocol.printable import did_you_mean, quote
from protocol.terms import NodeName, Role, VmName

_RANGE = re.compile(
    r"(?P<head>[^\[\]]*)\[(?P<low>[0-9]{1,9})-(?P<high>[0-9]{1,9})\](?P<tail>[^\[\]]*)"
)
_SHARE = re.compile(
    r"(?P<amount>[0-9]+(?:\.[0-9]+)?%|fraction:[0-9]*\.?[0-9]+|(?:n:)?[0-9]{1,9}"
    r"|one|all|minority|majority)\s+of\s+(?P<rest>.+)"
)
_SHORT = re.compile(r"(?P<amount>one|all|minority|majority):(?P<role>[a-z]+)")
FORMS: Final = (
    ("esxi-001", "a node or VM by its name"),
    ("all", "every node, or every VM"),
    ("role:esxi", "nodes of a role: vcenter, kms, esxi"),
    ("site:main", "nodes of a site"),
    ("cluster:cluster-a", "hosts of a cluster"),
    ("provider:kms-provider", "the key servers of a provider of the lab file"),
    ("esxi-[001-002]", "a range of names"),
    ("25% of role:esxi", "a share of a selector, drawn from the seed; at least one"),
    ("2 of all", "so many of a selector, drawn from the seed; `one of` is one"),
    ("majority of role:esxi", "more than half of a selector, or a `minority`; drawn from the seed"),
    ("fraction:0.5 of role:esxi", "a share as a number; `n:2 of` is `2 of`"),
    ("majority:kms", "short for `majority of role:kms`; `minority:`, `one:` and `all:` too"),
    (
        "primary:kms",
        "the first key server of each provider; `primary:NAME`: of that one",
    ),
    ("[esxi-001, site:main]", "the union of a list of selectors"),
    ("{role: esxi, site: main, pick: one}", "the intersection of groups; pick: all, one, 3, 25%"),
)
"""Every way to write a selector of nodes, with what it selects; for VMs there are no groups."""
_GROUPS = ("role", "site", "cluster", "provider")
_RANGE_LIMIT = 10_000
_LONGEST = 500  # characters of a selector


def in_short(names: Sequence[str]) -> list[str]:
    """Names as ranges where they follow each other: ``esxi-[001-003]``; in their order."""
    runs: list[list[str]] = []
    for name in names:
        if runs and name == _successor(runs[-1][-1]):
            runs[-1].append(name)
        else:
            runs.append([name])
    return [run[0] if len(run) == 1 else _range(run[0], run[-1]) for run in runs]


def _successor(name: str) -> str:
    """The name with the next number of the same width; empty when there is none."""
    head = name.rstrip("0123456789")
    number = name.removeprefix(head)
    if not 0 < len(number) < 10 or not number.strip("9"):
        return ""
    return f"{head}{int(number) + 1:0{len(number)}}"


def _range(first: str, last: str) -> str:
    head = first.rstrip("0123456789")
    return f"{head}[{first.removeprefix(head)}-{last.removeprefix(head)}]"


def select_nodes(selector: object, directory: Directory, draws: Draws) -> tuple[NodeName, ...]:
    """The nodes that ``selector`` names, at least one.

    Raises ``ChaosError``: KS-CHAOS-010 (nothing of that name, with suggestions) or
    KS-CHAOS-011 (not in any known form).
    """
    names = tuple(str(entry.node) for entry in directory.nodes)
    groups: dict[str, list[str]] = {"all": list(names)}
    for entry in directory.nodes:
        values = ((entry.role.value,), (entry.site,), (entry.cluster,), entry.providers)
        for group, named in zip(_GROUPS, values, strict=True):
            for value in named:
                if value:
                    groups.setdefault(f"{group}:{value}", []).append(str(entry.node))
    groups |= _primaries(directory)
    found = _Selection(names, groups, "node").of(selector, draws)
    return tuple(NodeName(name) for name in found)


def _primaries(directory: Directory) -> dict[str, list[str]]:
    """``primary:PROVIDER``: the first of its key servers in the lab file; ``primary:kms``: that of
    each provider, or the first key server when none has a provider."""
    first: dict[str, list[str]] = {}
    servers = [entry for entry in directory.nodes if entry.role is Role.KMS]
    for entry in servers:
        for provider in entry.providers:
            first.setdefault(f"primary:{provider}", [str(entry.node)])
    every = [names[0] for names in first.values()] or [str(e.node) for e in servers[:1]]
    return {**first, "primary:kms": list(dict.fromkeys(every))} if servers else first


def _percent(amount: str) -> float:
    """``25%`` and ``fraction:0.25`` alike; 0, which is no share, for what is no number."""
    text = amount.removeprefix("fraction:")
    try:
        return float(text) * 100 if text != amount else float(text.removesuffix("%"))
    except ValueError:
        return 0.0


def select_vms(selector: object, directory: Directory, draws: Draws) -> tuple[VmName, ...]:
    """The VMs that ``selector`` names: ``all``, names, ranges, shares, lists; at least one."""
    names = tuple(str(vm) for vm in directory.vms)
    found = _Selection(names, {"all": list(names)}, "VM").of(selector, draws)
    return tuple(VmName(name) for name in found)


class _Selection:
    """One universe of names and groups; ``noun`` is for messages."""

    def __init__(
        self, names: Sequence[str], groups: Mapping[str, Sequence[str]], noun: str
    ) -> None:
        self._names = tuple(names)
        self._known = frozenset(names)
        self._groups = groups
        self._noun = noun

    def of(self, selector: object, draws: Draws) -> tuple[str, ...]:
        chosen = set(self._find(selector, draws))
        if not chosen:
            raise ChaosError("KS-CHAOS-010", f"{selector!r} selects no {self._noun}")
        return tuple(name for name in self._names if name in chosen)

    def _find(self, selector: object, draws: Draws) -> tuple[str, ...]:
        if isinstance(selector, str):
            return self._text(selector.strip(), draws)
        if isinstance(selector, Mapping):
            return self._map(selector, draws)
        if isinstance(selector, Sequence):
            return tuple(name for inner in selector for name in self._find(inner, draws))
        raise ChaosError("KS-CHAOS-011", f"{selector!r} is no selector")

    def _text(self, text: str, draws: Draws) -> tuple[str, ...]:
        if len(text) > _LONGEST:
            raise ChaosError("KS-CHAOS-011", f"{quote(text)} is too long to be a selector")
        share = _SHARE.fullmatch(text)
        if share is not None:
            return self._share(share["amount"], self._text(share["rest"].strip(), draws), draws)
        if text in self._groups:
            return tuple(self._groups[text])
        short = _SHORT.fullmatch(text)
        if short is not None and f"role:{short['role']}" in self._groups:
            names = tuple(self._groups[f"role:{short['role']}"])
            return self._share(short["amount"], names, draws)
        ranged = _RANGE.fullmatch(text)
        if ranged is not None:
            return self._range(text, ranged)
        if text in self._known:
            return (text,)
        if "[" in text or "]" in text or "%" in text:
            raise ChaosError("KS-CHAOS-011", f"{quote(text)} is no selector")
        raise self._unknown(text)

    def _range(self, text: str, match: re.Match[str]) -> tuple[str, ...]:
        low, high, width = int(match["low"]), int(match["high"]), len(match["low"])
        if low > high or high - low >= _RANGE_LIMIT or len(match["high"]) < width:
            raise ChaosError(
                "KS-CHAOS-011", f"{quote(text)}: a range goes upwards, as in [001-050]"
            )
        names = tuple(
            f"{match['head']}{number:0{width}d}{match['tail']}" for number in range(low, high + 1)
        )
        missing = [name for name in names if name not in self._known]
        if missing:
            raise self._unknown(missing[0])
        return names

    def _map(self, fields: Mapping[object, object], draws: Draws) -> tuple[str, ...]:
        """``{role: esxi, site: edge, pick: 25%}``: what is in every group, then a share."""
        groups = [(key, value) for key, value in fields.items() if key != "pick"]
        bad = [str(key) for key, _ in groups if key not in _GROUPS]
        if bad or not groups:
            raise ChaosError(
                "KS-CHAOS-011", f"a selector map has {', '.join(_GROUPS)}, pick: {bad}"
            )
        found = [self._text(f"{key}:{value}", draws) for key, value in groups]
        both = tuple(name for name in found[0] if all(name in other for other in found[1:]))
        pick = fields.get("pick")
        return both if pick is None else self._share(str(pick), both, draws)

    def _share(self, amount: str, names: tuple[str, ...], draws: Draws) -> tuple[str, ...]:
        chosen = frozenset(names)
        ordered = tuple(name for name in self._names if name in chosen)
        if amount == "all":
            return ordered
        if amount == "one":
            count = 1
        elif amount == "majority":
            count = len(ordered) // 2 + 1
        elif amount == "minority":
            count = (len(ordered) - 1) // 2
            if count < 1:
                raise ChaosError("KS-CHAOS-011", f"{len(ordered)} have no minority")
        elif amount.endswith("%") or amount.startswith("fraction:"):
            share = _percent(amount)
            if not 0 < share <= 100:
                raise ChaosError("KS-CHAOS-011", f"{amount} is no share: above 0%, at most 100%")
            count = max(1, round(len(ordered) * share / 100))
        elif re.fullmatch("(?:n:)?[0-9]{1,9}", amount):
            count = int(amount.removeprefix("n:"))
            if not 0 < count <= len(ordered):
                raise ChaosError("KS-CHAOS-011", f"{amount} of {len(ordered)} cannot be picked")
        else:
            raise ChaosError(
                "KS-CHAOS-011",
                f"pick: {quote(amount)} is none of all, one, minority, majority, 3, 25%",
            )
        return draws.pick(ordered, count)

    def _unknown(self, text: str) -> ChaosError:
        hint = did_you_mean(text, [*self._groups, *self._names], most=3, cutoff=0.5)
        if self._noun == "VM" and text.partition(":")[0] in ("role", *_GROUPS):
            hint = "; VMs have no groups: name them, vm-[01-04], `50% of all` or `all`"
        return ChaosError("KS-CHAOS-010", f"no {self._noun} {quote(text)} in this lab{hint}")
