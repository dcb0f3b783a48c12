"""What every managed object is: its id, which follows from its name and outlives every restart, and
properties by path, computed when they are read. Also objects that every server of the product
has, and of which a lab has nothing but the object.
"""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from pyVmomi import VmomiSupport as support
from pyVmomi import vim, vmodl

from lab.vsphere.faults import invalid_property, not_supported
from protocol.authorization import Privilege

_SPACE = 1 << 31
TYPE_LIMIT = 20_000
_NAMESPACE = uuid.UUID("5a0d8cf4-6a4c-5f0e-9a67-0f8f2e3b7a11")


def numbers(names: Iterable[str]) -> Mapping[str, int]:
    """A number for each name, the same ones for the same names: 31 bits, as libvirt reads them.

    Two names that come to one number are told apart by their order.
    """
    return _numbers(tuple(names))


@functools.lru_cache(4)
def _numbers(names: tuple[str, ...]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    used: set[int] = set()
    for name in sorted(set(names)):
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest()) % _SPACE
        while number in used or not number:
            number = (number + 1) % _SPACE
        used.add(number)
        found[name] = number
    return MappingProxyType(found)


@functools.lru_cache(TYPE_LIMIT)
def reference(kind: Any, object_id: str) -> Any:
    """A reference, which nobody changes."""
    return kind(object_id)


def own_id(what: str, name: str, prefix: str) -> str:
    """The id that follows from a name alone, for an object that the inventory has no more."""
    return f"{prefix}{numbers([f'{what}/{name}'])[f'{what}/{name}']}"


def uuid_of(*names: str) -> str:
    """The UUID of what has these names: the same one at every start."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(names)))


F = TypeVar("F", bound=Callable[..., Any])
_MARK = "_vsphere_operation"
PATH_LIMIT = 32
"""Names in a path of properties."""


def operation(function: F) -> F:
    """Mark a method as one that clients may call."""
    setattr(function, _MARK, True)
    return function


class Managed:
    """A managed object. ``shapes``: the type of a data object where it is a subtype of the one
    that the property declares. ``guards``: what a user needs besides System.Read to read a property
    at the top."""

    kind: ClassVar[Any] = None
    properties: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    shapes: ClassVar[Mapping[str, Any]] = {}
    guards: ClassVar[Mapping[str, Privilege]] = {}
    leaves: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    branches: ClassVar[dict[str, tuple[str, ...]]] = {}
    operations: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, object_id: str) -> None:
        self.id = object_id
        self.texts: dict[tuple[str, str], str] = {}

    def __init_subclass__(cls) -> None:
        cls.leaves = {**cls.leaves, **cls.properties}
        above: Any = cls.__bases__[0]
        cls.shapes = {**above.shapes, **cls.shapes}
        branches: dict[str, dict[str, None]] = {}
        for path in cls.leaves:
            while "." in path:
                above, _, name = path.rpartition(".")
                branches.setdefault(above, {})[name] = None
                path = above
        cls.branches = {above: tuple(names) for above, names in branches.items()}
        marked = {n for n in dir(cls) if getattr(getattr(cls, n, None), _MARK, False)}
        cls.operations = frozenset(marked)

    @property
    def ref(self) -> Any:
        """The reference that clients get."""
        return reference(self.kind, self.id)

    async def refresh(self, request: Any) -> None:
        """Read what is new, before properties are read; the inventory has it of most objects."""

    def names(self) -> tuple[str, ...]:
        """The properties at the top that this object has: what ``all`` means."""
        return tuple(dict.fromkeys(path.split(".")[0] for path in self.leaves))

    def guard(self, path: str) -> Privilege | None:
        """What a user needs besides System.Read to read the value at a path."""
        return self.guards.get(path.partition(".")[0])

    def get(self, path: str) -> Any:
        """The value at a path, None where there is none; ``InvalidProperty`` where there is no such
        property in the product."""
        if path.count(".") >= PATH_LIMIT:
            raise invalid_property(path)
        compute = self.leaves.get(path)
        if compute is not None:
            return _convert(compute(self), type_at(self.__class__, path))
        names = self.branches.get(path)
        if names is not None:
            values = {name: self.get(f"{path}.{name}") for name in names}
            if all(value is None for value in values.values()):
                return None
            return build(type_at(self.__class__, path), **values)
        above, _, name = path.rpartition(".")
        if not above or "[" in path:
            type_at(self.__class__, path)
            return None
        held = self.get(above)
        if held is None:
            type_at(self.__class__, path)
            return None
        try:
            return _convert(getattr(held, name), type(held)._GetPropertyInfo(name).type)
        except AttributeError:
            raise invalid_property(path) from None


def build(kind: Any, **values: Any) -> Any:
    """A data object. pyVmomi refuses an empty list for a required one: it is left out here, and a
    client reads an empty list."""
    given = {
        name: value
        for name, value in values.items()
        if value is not None and not (isinstance(value, list) and not value)
    }
    return kind(**given)


_types: dict[tuple[str, str], Any] = {}


def type_at(cls: type[Managed], path: str) -> Any:
    """The declared type at a path of properties; ``InvalidProperty`` where there is none."""
    key = (cls.__qualname__, path)
    if key not in _types:
        found = _find_type(cls, path)
        if len(_types) < TYPE_LIMIT:
            _types[key] = found
        return found
    return _types[key]


def _find_type(cls: type[Managed], path: str) -> Any:
    shape = cls.shapes.get(path)
    if shape is not None:
        return shape
    above, _, name = path.rpartition(".")
    holder = type_at(cls, above) if above else cls.kind
    try:
        return holder._GetPropertyInfo(name).type
    except AttributeError:
        raise invalid_property(path) from None


def _convert(value: Any, kind: Any) -> Any:
    """A plain value as pyVmomi's type, which its writers need."""
    if value is None or kind is object:
        return value
    if issubclass(kind, list):
        item = kind.Item
        plain = issubclass(item, support.ManagedObject | support.DataObject)
        return kind(value if plain else [_convert(one, item) for one in value])
    if kind is support.datetime:
        return value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    if issubclass(kind, support.Enum):
        return kind(str(value))
    if kind is str and type(value) is not str:
        return value.value if isinstance(value, StrEnum) else str(value)
    if kind in (support.long, support.short, support.byte):
        return kind(value)
    return value


class ObjectProperties:
    """Some properties of one object, as an answer has them."""

    def __init__(self, thing: Managed, paths: list[str], values: dict[str, Any]) -> None:
        self.kind, self.id, self.paths = thing.kind, thing.id, paths
        self.values = values
        self.missing: list[tuple[str, Any]] = []
        """Paths that the user may not read, with the fault that says so."""
        self._thing = thing

    def text(self, path: str, version: str, write: Callable[[Any, str], str]) -> str:
        """A value as ``write`` writes it, kept for as long as the object is."""
        key = (path, version)
        found = self._thing.texts.get(key)
        if found is None:
            found = self._thing.texts[key] = write(self.values[path], version)
        return found


class SharedUpdates(vmodl.query.PropertyCollector.ObjectUpdate.Array):  # type: ignore[misc]
    """Updates that the answers of many clients have. ``texts``: as written, by the version of the
    API and the name of the element."""

    def __init__(self, updates: list[Any]) -> None:
        super().__init__(updates)
        self.texts: dict[tuple[str, str], str] = {}


@dataclass
class RetrievedProperties:
    """Properties of many objects; ``token``: more of them can be asked for with it."""

    objects: list[ObjectProperties] = field(default_factory=list)
    token: str = ""


def named(managed: Any, **properties: Any) -> type[Managed]:
    """A class for objects of a type of which a lab has the object, some constant properties and no
    method: each answers ``MethodNotFound``."""
    values = {name: (lambda _, value=value: value) for name, value in properties.items()}
    return type(managed.__name__, (Managed,), {"kind": managed, "properties": values})


class DatastoreBrowser(Managed):
    """Searches a datastore."""

    kind = vim.host.DatastoreBrowser
    properties = {"datastore": lambda b: [b.of.ref], "supportedType": lambda b: []}

    def __init__(self, datastore: Any) -> None:
        super().__init__(f"datastoreBrowser-{datastore.id}")
        self.of = datastore


class EnvironmentBrowser(Managed):
    """Hardware that the hosts of a cluster offer to VMs. VMs of a lab have no choice of it:
    ``govc object.save`` passes over what is not supported."""

    kind = vim.EnvironmentBrowser

    def __init__(self, cluster: Any) -> None:
        super().__init__(f"envbrowser-{cluster.id}")

    @operation
    async def QueryConfigOption(
        self, request: Any, key: str | None = None, host: Any = None
    ) -> None:
        """Refused."""
        raise not_supported("QueryConfigOption")

    @operation
    async def QueryConfigTarget(self, request: Any, host: Any = None) -> None:
        """Refused."""
        raise not_supported("QueryConfigTarget")

    @operation
    async def QueryTargetCapabilities(self, request: Any, host: Any = None) -> None:
        """Refused."""
        raise not_supported("QueryTargetCapabilities")


class HostAutoStartManager(Managed):
    """VMs that start with their host: in a lab none does."""

    kind = vim.host.AutoStartManager
    properties = {
        "config": lambda m: build(
            m.kind.Config, powerInfo=[], defaults=m.kind.SystemDefaults(enabled=False)
        )
    }

    def __init__(self, host: Any) -> None:
        super().__init__(f"autoStartManager-{host.id}")


_GUEST = vim.vm.guest
_GUEST_MANAGERS = {
    "authManager": _GUEST.AuthManager,
    "fileManager": _GUEST.FileManager,
    "processManager": _GUEST.ProcessManager,
}
_OF_SERVERS: Mapping[str, tuple[type[Managed], str, str]] = {
    "perfManager": (
        named(vim.PerformanceManager, historicalInterval=[], perfCounter=[]),
        "PerfMgr", "ha-perfmgr",
    ),
    "diagnosticManager": (named(vim.DiagnosticManager), "DiagMgr", "ha-diagnosticmgr"),
    "fileManager": (named(vim.FileManager), "FileManager", "ha-nfc-file-manager"),
    "virtualDiskManager": (
        named(vim.VirtualDiskManager), "virtualDiskManager", "ha-vdiskmanager"
    ),
    "eventManager": (named(vim.event.EventManager, maxCollector=0), "", "ha-eventmgr"),
    "setting": (
        named(vim.option.OptionManager, setting=[], supportedOption=[]), "", "HostAgentSettings"
    ),
    "customizationSpecManager": (
        named(vim.CustomizationSpecManager, info=[], encryptionKey=[]),
        "CustomizationSpecManager", "",
    ),
    "vStorageObjectManager": (
        named(vim.vslm.vcenter.VStorageObjectManager), "VStorageObjectManager", ""
    ),
    "ovfManager": (
        named(vim.OvfManager, ovfImportOption=[], ovfExportOption=[]), "OvfManager",
        "ha-ovf-manager",
    ),
    "datastoreNamespaceManager": (
        named(vim.DatastoreNamespaceManager), "DatastoreNamespaceManager",
        "ha-datastore-namespace-manager",
    ),
    "storageResourceManager": (
        named(vim.StorageResourceManager), "StorageResourceManager", ""
    ),
    "vmProvisioningChecker": (named(vim.vm.check.ProvisioningChecker), "ProvChecker", ""),
    "vmCompatibilityChecker": (named(vim.vm.check.CompatibilityChecker), "CompatChecker", ""),
    "guestOperationsManager": (
        named(_GUEST.GuestOperationsManager, **{
            name: kind(f"guestOperations-{name}") for name, kind in _GUEST_MANAGERS.items()
        }),
        "guestOperationsManager", "ha-guest-operations-manager",
    ),
}  # fmt: skip
"""By the name in the service content: the class, its id at vCenter and its id at a host, empty
where there is none of it. Clients such as govc crash where one is missing."""


def references(of_host: bool) -> dict[str, tuple[Any, str]]:
    """What the service content has of them."""
    found = {name: (kind, own[of_host]) for name, (kind, *own) in _OF_SERVERS.items()}
    return {name: (kind.kind, own) for name, (kind, own) in found.items() if own}


def singletons(of_host: bool) -> dict[str, Callable[[Any, Any], Managed]]:
    """What makes each of them, and those of guest operations, by its id."""

    def maker(kind: type[Managed], own: str) -> Callable[[Any, Any], Managed]:
        return lambda _server, _session: kind(own)

    classes = {own[of_host]: kind for kind, *own in _OF_SERVERS.values() if own[of_host]}
    for name, managed in _GUEST_MANAGERS.items():
        classes[f"guestOperations-{name}"] = named(managed)
    return {own: maker(kind, own) for own, kind in classes.items()}
