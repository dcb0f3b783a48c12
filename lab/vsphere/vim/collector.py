"""``PropertyCollector``: properties of many objects at once, and how they change.

Views are the lists of objects that a session keeps; what a filter selects at one moment is shared
by all filters with the same specification.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject

from lab.vsphere.faults import invalid_argument, invalid_property, no_permission
from lab.vsphere.request import ApiRequest
from lab.vsphere.soap import missing_property, value_text
from lab.vsphere.vim.managed import (
    Managed,
    ObjectProperties,
    RetrievedProperties,
    SharedUpdates,
    operation,
)

LIST_LIMIT = 20_000


class _View(Managed):
    @operation
    async def DestroyView(self, request: ApiRequest) -> None:
        """It is gone."""
        request.session.held.pop(self.id, None)


class ContainerView(_View):
    """What lies in a container now, of some types."""

    kind = vim.view.ContainerView
    properties = {
        "view": lambda v: [thing.ref for thing in v.things()],
        "container": lambda v: v.container,
        "type": lambda v: list(v.types),
        "recursive": lambda v: v.recursive,
    }

    def __init__(
        self, object_id: str, server: Any, container: Any, types: tuple[Any, ...], recursive: bool
    ) -> None:
        super().__init__(object_id)
        self.server, self.container = server, container
        self.types, self.recursive = types, recursive

    def things(self) -> list[Any]:
        """The objects that it has now; none once its container has gone."""
        inventory = self.server.inventory
        start = inventory.objects.get(self.container._moId)
        if start is None:
            return []
        found, waiting = [], list(reversed(inventory.children(start)))
        while waiting:
            thing = waiting.pop()
            if not self.types or issubclass(thing.kind, self.types):
                found.append(thing)
            if self.recursive:
                waiting += reversed(inventory.children(thing))
        if not self.types or issubclass(vim.VirtualMachine, self.types):
            found += inventory.vms_run_by(start)
        return found


class ListView(_View):
    """A list that its client keeps."""

    kind = vim.view.ListView
    properties = {"view": lambda v: v.objects}

    def __init__(self, object_id: str, objects: list[Any]) -> None:
        super().__init__(object_id)
        self.objects = objects[:LIST_LIMIT]

    @operation
    async def ModifyListView(
        self, request: ApiRequest, add: Any = (), remove: Any = ()
    ) -> list[Any]:
        """Add objects and remove some; those that could not be found."""
        gone = {r._moId for r in remove or ()}
        kept = [o for o in self.objects if o._moId not in gone]
        self.objects = (kept + list(add or ()))[:LIST_LIMIT]
        self.texts.clear()
        return []

    @operation
    async def ResetListView(self, request: ApiRequest, obj: Any = ()) -> list[Any]:
        """Other objects instead."""
        self.objects = list(obj or ())[:LIST_LIMIT]
        self.texts.clear()
        return []


CONTAINERS = (
    vim.Folder, vim.Datacenter, vim.ComputeResource, vim.ResourcePool, vim.HostSystem,
)  # fmt: skip
"""What a view may be of."""


class ViewManager(Managed):
    """Makes views."""

    kind = vim.view.ViewManager
    properties = {"viewList": lambda v: []}

    @operation
    async def CreateContainerView(
        self, request: ApiRequest, container: Any, type: Any = (), recursive: bool = False
    ) -> Any:
        """A view of what lies in a container."""
        request.inventory.find(container)
        if not isinstance(container, CONTAINERS):
            raise invalid_argument("container", f"{container._moId} contains nothing")
        made = ContainerView(
            request.session.fresh_id("view"), request.server, container, tuple(type or ()),
            bool(recursive),
        )  # fmt: skip
        return request.hold(made).ref

    @operation
    async def CreateListView(self, request: ApiRequest, obj: Any = ()) -> Any:
        """A view of these objects."""
        made = ListView(request.session.fresh_id("view"), list(obj or ()))
        return request.hold(made).ref


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


OBJECT_LIMIT = 20_000
WAIT_LIMIT_S = 1800.0
"""Seconds that one request may wait, of the lab when it is a simulated one."""


def _as_list(found: Any) -> list[Any]:
    return [] if found is None else list(found) if isinstance(found, list) else [found]


def _walk(request: ApiRequest, spec: Any) -> Iterator[Managed]:
    """The objects that an ``ObjectSpec`` selects, each once."""
    named: dict[str, Any] = {}
    pending = list(spec.selectSet or ())
    while pending:
        one = pending.pop()
        if isinstance(one, PC.TraversalSpec):
            if one.name and one.name not in named:
                named[one.name] = one
            pending += one.selectSet or ()
    given: set[str] = set()
    walked: set[tuple[str, int]] = set()
    here = request.inventory.objects
    waiting = [(request.find(spec.obj), list(spec.selectSet or ()), bool(spec.skip))]
    while waiting:
        thing, selects, skip = waiting.pop()
        if not skip and thing.id not in given:
            given.add(thing.id)
            if len(given) > OBJECT_LIMIT:
                raise invalid_argument("specSet", f"it selects more than {OBJECT_LIMIT} objects")
            yield thing
        for one in reversed(selects):
            step = one if isinstance(one, PC.TraversalSpec) else named.get(one.name)
            if step is None:
                raise invalid_argument("selectSet", f"there is no selection {one.name}")
            if not issubclass(thing.kind, step.type) or (thing.id, id(step)) in walked:
                continue
            walked.add((thing.id, id(step)))
            below = list(step.selectSet or ())
            for reference in reversed(_as_list(thing.get(step.path))):
                if not isinstance(reference, ManagedObject):
                    raise invalid_property(step.path)
                found = here.get(reference._moId)
                if found is None or not issubclass(found.kind, type(reference)):
                    found = request.look_up(reference)
                if found is not None:
                    waiting.append((found, below, bool(step.skip)))


def collect(request: ApiRequest, spec: Any) -> Iterator[ObjectProperties]:
    """What a ``FilterSpec`` selects, with the properties that it names."""
    by_kind: dict[Any, list[Any]] = {}
    for objects in spec.objectSet:
        for thing in _walk(request, objects):
            wanted = by_kind.get(thing.kind)
            if wanted is None:
                wanted = [p for p in spec.propSet or () if issubclass(thing.kind, p.type)]
                by_kind[thing.kind] = wanted
            if not wanted:
                continue
            values: dict[str, Any] = {}
            missing: dict[str, Any] = {}
            for one in wanted:
                for path in thing.names() if one.all else one.pathSet or ():
                    if path in values:
                        continue
                    guard = thing.guard(path) if thing.guards else None
                    if guard is not None and not request.may(guard):
                        missing[path] = no_permission(thing.ref, guard)
                    elif (value := thing.get(path)) is not None:
                        values[path] = value
            found = ObjectProperties(thing, list(values), values)
            found.missing = list(missing.items())
            yield found


async def _refresh(request: ApiRequest, specs: Iterable[Any]) -> None:
    """Have the objects at which specifications begin read what is new: collectors of events."""
    for objects in [objects for spec in specs for objects in spec.objectSet]:
        if (thing := request.look_up(objects.obj)) is not None:
            await thing.refresh(request)


class PropertyCollector(Managed):
    """One for each session, and as many more as its client makes."""

    kind = PC
    properties = {"filter": lambda p: [f.ref for f in p.filters.values()]}

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self.filters: dict[str, PropertyFilter] = {}
        self.version = 0
        self.last: Any = None
        self.tokens: dict[str, list[ObjectProperties]] = {}
        self.cancelled = 0

    # ---- at once

    @operation
    async def RetrieveProperties(self, request: ApiRequest, specSet: Any) -> RetrievedProperties:
        """Everything that these specifications select."""
        await _refresh(request, specSet)
        return RetrievedProperties([one for spec in specSet for one in collect(request, spec)])

    @operation
    async def RetrievePropertiesEx(
        self, request: ApiRequest, specSet: Any, options: Any
    ) -> RetrievedProperties:
        """The same in pieces of ``maxObjects``."""
        await _refresh(request, specSet)
        found = [one for spec in specSet for one in collect(request, spec)]
        return self._cut(request, found, options.maxObjects if options else None)

    def _cut(
        self, request: ApiRequest, found: list[ObjectProperties], limit: Any
    ) -> RetrievedProperties:
        if limit is not None and limit < 1:
            raise invalid_argument("maxObjects", f"{limit}: at least 1")
        if limit is None or len(found) <= limit:
            return RetrievedProperties(found)
        token = request.session.fresh_id("token")
        if len(self.tokens) >= 16:
            self.tokens.pop(next(iter(self.tokens)))
        self.tokens[token] = found[limit:]
        rest = RetrievedProperties(found[:limit], token)
        self.page = limit
        return rest

    @operation
    async def ContinueRetrievePropertiesEx(
        self, request: ApiRequest, token: str
    ) -> RetrievedProperties:
        """The next piece."""
        rest = self.tokens.pop(token, None)
        if rest is None:
            raise vmodl.fault.InvalidArgument(invalidProperty="token", msg="no such token")
        return self._cut(request, rest, self.page)

    @operation
    async def CancelRetrievePropertiesEx(self, request: ApiRequest, token: str) -> None:
        """The rest is not wanted."""
        if self.tokens.pop(token, None) is None:
            raise vmodl.fault.InvalidArgument(invalidProperty="token", msg="no such token")

    # ---- over time

    @operation
    async def CreatePropertyCollector(self, request: ApiRequest) -> Any:
        """Another collector of this session, with filters of its own."""
        return request.hold(PropertyCollector(request.session.fresh_id("collector"))).ref

    @operation
    async def DestroyPropertyCollector(self, request: ApiRequest) -> None:
        """It is gone with its filters; whoever waits at it gets ``RequestCanceled``."""
        self.cancelled += 1
        for one in self.filters:
            request.session.held.pop(one, None)
        self.filters.clear()
        request.session.held.pop(self.id, None)

    @operation
    async def CreateFilter(self, request: ApiRequest, spec: Any, partialUpdates: bool) -> Any:
        """Watch what a specification selects. It is checked now."""
        evaluate(request, evaluation_key(request, spec), lambda: collect(request, spec))
        made = PropertyFilter(request.session.fresh_id("filter"), self, spec, partialUpdates)
        request.hold(made)
        self.filters[made.id] = made
        return made.ref

    @operation
    async def CheckForUpdates(self, request: ApiRequest, version: str | None = None) -> Any:
        """What has changed, now."""
        return await self._wait(request, version, 0.0, None)

    @operation
    async def WaitForUpdates(self, request: ApiRequest, version: str | None = None) -> Any:
        """What has changed, when something has."""
        return await self._wait(request, version, WAIT_LIMIT_S, None)

    @operation
    async def WaitForUpdatesEx(
        self, request: ApiRequest, version: str | None = None, options: Any = None
    ) -> Any:
        """What has changed, when something has; nothing after ``maxWaitSeconds``."""
        limit = WAIT_LIMIT_S
        if options is not None and options.maxWaitSeconds is not None:
            if options.maxWaitSeconds < 0:
                raise invalid_argument("options.maxWaitSeconds", "it is below 0")
            limit = min(float(options.maxWaitSeconds), WAIT_LIMIT_S)
        most = options.maxObjectUpdates if options is not None else None
        if most is not None and most < 1:
            raise invalid_argument("options.maxObjectUpdates", f"{most}: at least 1")
        return await self._wait(request, version, limit, most)

    @operation
    async def CancelWaitForUpdates(self, request: ApiRequest) -> None:
        """Whoever waits gets ``RequestCanceled``."""
        self.cancelled += 1

    def _accept(self, version: str | None) -> Any:
        """The version that a client has seen; an update set that it has not got, once more."""
        if not version:
            for one in self.filters.values():
                one.forget()
            self.last = None
            return None
        if version == str(self.version):
            return None
        if self.last is not None and version == str(self.version - 1):
            return self.last
        raise vmodl.query.InvalidCollectorVersion(msg=f"{version} is no version that was given")

    async def _wait(self, request: ApiRequest, version: str | None, limit: float, most: Any) -> Any:
        again = self._accept(version)
        if again is not None:
            return again
        cancelled, tries, waited, seen = self.cancelled, 0, 0.0, -1
        begun = time.monotonic()
        while True:
            if self.cancelled != cancelled:
                raise vmodl.fault.RequestCanceled(msg="the wait was cancelled")
            try:
                await request.refresh()
            except vim.fault.NotAuthenticated:
                text = "the session was closed during the wait"
                raise vmodl.fault.RequestCanceled(msg=text) from None
            mark = request.mark()
            if mark != seen:
                seen = mark
                await _refresh(request, [one.spec for one in self.filters.values()])
                found = self._updates(request, most)
                if found is not None:
                    self.version += 1
                    found.version = str(self.version)
                    self.last = found
                    return found
            virtual = request.virtual
            passed = waited if virtual else time.monotonic() - begun
            if passed >= limit:
                return None
            waited += await request.pause(limit - passed, tries)
            tries += 1

    def _updates(self, request: ApiRequest, most: int | None) -> Any:
        """The next update set, with ``most`` objects; None when nothing has changed."""
        sets, left, truncated = [], most, False
        for one in self.filters.values():
            if left is not None and left <= 0:
                truncated = truncated or one.has_changes(request)
                continue
            updates, more = one.changes(request, left)
            truncated = truncated or more
            if updates:
                sets.append(PC.FilterUpdate(filter=one.ref, objectSet=updates))
                left = None if left is None else left - len(updates)
        if not sets:
            return None
        return PC.UpdateSet(version="0", filterSet=sets, truncated=truncated or None)


class PropertyFilter(Managed):
    """A specification that is watched, and what its client knows of it."""

    kind = PC.Filter
    properties = {"spec": lambda f: f.spec, "partialUpdates": lambda f: f.partial}

    def __init__(self, object_id: str, owner: PropertyCollector, spec: Any, partial: bool) -> None:
        super().__init__(object_id)
        self.owner, self.spec, self.partial = owner, spec, bool(partial)
        self.known = NOTHING_KNOWN
        self._key: str | None = None

    def forget(self) -> None:
        """Its client begins anew."""
        self.known = NOTHING_KNOWN

    def _now(self, request: ApiRequest) -> Evaluation:
        if self._key is None:
            self._key = evaluation_key(request, self.spec)
        try:
            return evaluate(request, self._key, lambda: collect(request, self.spec))
        except vmodl.fault.ManagedObjectNotFound:
            return NOTHING_KNOWN  # where it began has gone, and so has all that was found there

    def has_changes(self, request: ApiRequest) -> bool:
        """Whether its client does not know all yet."""
        return bool(self._now(request).since(self.known))

    def changes(self, request: ApiRequest, most: int | None) -> tuple[list[Any], bool]:
        """What its client does not know, of ``most`` objects; whether there is more."""
        now = self._now(request)
        updates = now.since(self.known)
        if most is None or len(updates) <= most:
            self.known = now
            return updates, False
        self.known = self.known.after(updates[:most], now)
        return updates[:most], True

    @operation
    async def DestroyPropertyFilter(self, request: ApiRequest) -> None:
        """It is gone."""
        self.owner.filters.pop(self.id, None)
        request.session.held.pop(self.id, None)


__all__ = ["PropertyCollector", "PropertyFilter", "collect"]
