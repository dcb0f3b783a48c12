"""vAPI: what an operation is, what it answers, and how it fails.

Operations stand in tables (``OPERATIONS`` of ``vapi_inventory``, ``vapi_providers``,
``vapi_trust``). ``rest`` and ``json_rpc`` are two codecs over them: work is done on plain values,
and a *shape* says which structures, secrets and optional values JSON-RPC has to name.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim, vmodl

from lab.vsphere.request import ApiRequest


class VapiError(Exception):
    """An error of vAPI: its name in ``com.vmware.vapi.std.errors``, and what happened."""

    def __init__(self, name: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.name, self.status = name, status


_KINDS: tuple[tuple[Any, str, int], ...] = (
    (vim.fault.NotAuthenticated, "unauthenticated", 401),  # one kind of NoPermission
    (vim.fault.NoPermission, "unauthorized", 403),
    (vim.fault.InvalidLogin, "unauthenticated", 401),
    (vim.fault.NotFound, "not_found", 404),
    (vmodl.fault.ManagedObjectNotFound, "not_found", 404),
    (vim.fault.AlreadyExists, "already_exists", 400),
    (vmodl.fault.InvalidArgument, "invalid_argument", 400),
    (vim.fault.InvalidName, "invalid_argument", 400),
    (vim.fault.InvalidState, "not_allowed_in_current_state", 400),
    (vmodl.fault.NotSupported, "unsupported", 400),
    (vmodl.fault.InvalidRequest, "invalid_argument", 400),
)


def error_of(fault: Any) -> VapiError:
    """A fault of vim25 as an error of vAPI."""
    for kind, name, status in _KINDS:
        if isinstance(fault, kind):
            return VapiError(name, fault.msg or name, status)
    return VapiError("error", fault.msg or type(fault).__name__, 500)


def message(name: str, text: str) -> dict[str, Any]:
    """A ``localizable_message``."""
    return {"id": f"com.keystead.{name}", "default_message": text, "args": []}


def details(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Details of a health: ids of the product's messages, or texts."""
    found = [message("detail", text) for text in texts]
    for one in found:
        if one["default_message"].startswith("com.vmware."):
            one["id"] = one["default_message"]
    return found


# ---- operations


@dataclass
class VapiCall:
    """One call: by whom, with which arguments. ``base``: the address by which the client came."""

    call: ApiRequest
    arguments: dict[str, Any]
    base: str

    @property
    def inventory(self) -> Any:
        """The inventory as of this call."""
        return self.call.inventory

    def id(self, name: str) -> str:
        """An argument that is an id or a name."""
        return text_of(self.arguments, name)

    def filter(self, name: str = "filter") -> FilterSpec:
        """The filter of a list."""
        return FilterSpec(part_of(self.arguments, name))

    @property
    def spec(self) -> dict[str, Any]:
        """The body of what is made or changed."""
        return part_of(self.arguments, "spec")


Work = Callable[[VapiCall], Awaitable[Any]]


@dataclass(frozen=True)
class VapiOperation:
    """An operation. ``path`` below ``/api``, with ``?action=`` where several share one.

    ``selects``: the argument that the query of a list becomes. ``also``: another path, for POST.
    ``old``: it is below ``/rest`` too. Without a ``service`` JSON-RPC does not have it, without a
    ``path`` REST does not.
    """

    service: str
    name: str
    work: Work
    method: str
    path: str
    result: Any = None
    selects: str = ""
    also: str = ""
    old: bool = False


# ---- arguments


@dataclass(frozen=True)
class FilterSpec:
    """A filter: by field, the values of which one has to be."""

    fields: Mapping[str, Any]

    def fits(self, name: str, *values: str) -> bool:
        """Whether one of ``values`` is wanted, or none is named."""
        wanted = self.fields.get(name)
        if wanted is None or wanted == []:
            return True
        if not isinstance(wanted, list):
            raise VapiError("invalid_argument", f"{name} is no list")
        return any(value in wanted for value in values)


def part_of(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A structure in an argument; an empty one where there is none."""
    found = holder.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise VapiError("invalid_argument", f"{name} is no object")
    return found


def text_of(holder: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text in an argument."""
    found = holder.get(name)
    if found is None:
        found = default
    if not isinstance(found, str) or not found.isprintable():
        raise VapiError("invalid_argument", f"{name} is needed, as a printable text")
    return found


def time_text(seconds: float) -> str:
    """Unix seconds as vAPI writes them."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


# ---- shapes


@dataclass(frozen=True)
class VapiStructure:
    """A structure with its fields; what is plain JSON in both codecs has no shape."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Optional:
    """A value that may be absent."""

    of: Any = None


@dataclass(frozen=True)
class Listed:
    """A list."""

    of: Any


@dataclass(frozen=True)
class Mapped:
    """A map: its entries are structures of JSON-RPC."""

    of: Any = None


@dataclass(frozen=True)
class Tagged:
    """A value with a tag: ``SECRET`` or ``BINARY``."""

    tag: str


SECRET, BINARY = Tagged("SECRET"), Tagged("BINARY")
MESSAGE = VapiStructure(
    "com.vmware.vapi.std.localizable_message",
    {"id": None, "default_message": None, "args": Listed(None), "params": Optional(),
     "localized": Optional()},
)  # fmt: skip


def write_shaped(value: Any, shape: Any) -> Any:
    """A plain value as JSON-RPC has it."""
    match shape:
        case VapiStructure(name, fields):
            found = {key: write_shaped(value.get(key), one) for key, one in fields.items()}
            return {"STRUCTURE": {name: found}}
        case Optional(of):
            return {"OPTIONAL": None if value is None else write_shaped(value, of)}
        case Listed(of):
            return [write_shaped(one, of) for one in value]
        case Mapped(of):
            return [
                {"STRUCTURE": {"map-entry": {"key": key, "value": write_shaped(one, of)}}}
                for key, one in value.items()
            ]
        case Tagged("BINARY"):
            return {"BINARY": base64.b64encode(value).decode()}
        case Tagged(tag):
            return {tag: value}
    return value
