"""What a filter's specification selects at one moment, shared by all filters that say the same.

Many clients wait for the same changes. Their specification is evaluated once for each revision of
the inventory, and so is what differs from what they know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pyVmomi import vmodl

from lab.vsphere.request import ApiRequest
from lab.vsphere.soap import missing_property, value_text
from lab.vsphere.vim.managed import ObjectProperties, SharedUpdates
from lab.vsphere.vim.views import ContainerView

PC = vmodl.query.PropertyCollector
COMPARED = "vim.version.v9_0_0_0"
KEPT_DIFFERENCES = 8
Known = dict[str, tuple[Any, dict[str, str]]]
"""By the id of an object: its type, and its properties as text."""


class Evaluation:
    """Objects with their properties as they were at one moment. ``known`` is not changed."""

    def __init__(self, known: Known, contents: dict[str, ObjectProperties] | None = None) -> None:
        self.known, self._contents = known, contents or {}
        self._differences: list[tuple[Evaluation, list[Any]]] = []

    @classmethod
    def of(cls, found: Iterable[ObjectProperties]) -> Evaluation:
        """What was found just now."""
        contents = {one.id: one for one in found}
        known = {
            key: (one.kind, {path: one.text(path, COMPARED, value_text) for path in one.paths})
            for key, one in contents.items()
        }
        return cls(known, contents)

    def since(self, before: Evaluation) -> list[Any]:
        """Updates for a client that knows ``before``."""
        for base, updates in self._differences:
            if base is before:
                return updates
        if before is self:
            return []
        found: list[Any] = SharedUpdates(self._compare(before.known))
        before._differences, before._contents = [], {}  # of the past, what is known is enough
        self._differences = [(before, found), *self._differences][:KEPT_DIFFERENCES]
        return found

    def _compare(self, known: Known) -> list[Any]:
        updates = []
        for key, (_, texts) in self.known.items():
            before = known.get(key)
            if before is None or before[1] != texts:
                updates.append(self._update(key, texts, before[1] if before else None))
        updates += [
            PC.ObjectUpdate(kind="leave", obj=kind(key))
            for key, (kind, _) in known.items()
            if key not in self.known
        ]
        return updates

    def _update(self, key: str, texts: dict[str, str], before: dict[str, str] | None) -> Any:
        content, known = self._contents[key], before or {}
        changes = [
            PC.Change(name=path, op="assign", val=content.values[path])
            for path in content.paths
            if known.get(path) != texts[path]
        ]
        changes += [PC.Change(name=path, op="assign") for path in known if path not in texts]
        return PC.ObjectUpdate(
            kind="enter" if before is None else "modify",
            missingSet=[missing_property(path, fault) for path, fault in content.missing],
            obj=content.kind(content.id),
            changeSet=changes,
        )

    def after(self, updates: Iterable[Any], now: Evaluation) -> Evaluation:
        """What a client knows that knew this and got some of the updates that lead to ``now``."""
        known = dict(self.known)
        for one in updates:
            key = one.obj._moId
            if one.kind == "leave":
                known.pop(key, None)
            else:
                known[key] = now.known[key]
        return Evaluation(known)


NOTHING_KNOWN = Evaluation({})


def evaluation_key(request: ApiRequest, spec: Any) -> str:
    """The same text for specifications that select the same for everybody, but for what a user may
    not read; empty for one that begins at an object of its session."""
    text = value_text(spec, COMPARED)
    for objects in spec.objectSet:
        start = request.look_up(objects.obj)
        if isinstance(start, ContainerView):
            kinds = ",".join(kind.__name__ for kind in start.types)
            text = text.replace(start.id, f"view {start.container._moId} {kinds} {start.recursive}")
        elif start is None or start.id not in request.inventory.objects:
            return ""
    return text


def evaluate(
    request: ApiRequest, key: str, collect: Callable[[], Iterable[ObjectProperties]]
) -> Evaluation:
    """What ``collect`` finds now; of a specification with a key once for each inventory."""
    if not key:
        return Evaluation.of(collect())
    kept: dict[Any, Evaluation] = request.inventory.evaluations
    own = key, request.server.privileges_of(request.session.user)
    if own not in kept:
        found = list(collect())
        made = Evaluation.of(found)
        if any(one.id not in request.inventory.objects for one in found):
            return made  # tasks of its session, for example
        kept[own] = made
    return kept[own]
