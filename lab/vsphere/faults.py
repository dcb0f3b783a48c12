"""Refusals of the lab as faults of the product, and the faults of the API server itself."""

from __future__ import annotations

import re
from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vim, vmodl

from lab.schema.errors import KeysteadError

_REFUSED = "KS-PRODUCT-001"
_PRIVILEGE = re.compile(r"[A-Z]\w+\.[A-Z]\w+(?:\.[A-Z]\w+)?")
_ABSENT = "KS-USE-002"
_WRONG = "KS-USE-003"


def fault_of(error: KeysteadError, entity: Any = None, power: str = "") -> Any:
    """The fault that a client gets for a refusal. ``entity``: the object of the call; ``power``:
    the state of a VM. ``RuntimeFault`` where the product has no fault of that name."""
    text = str(error)
    if error.id == _ABSENT:
        return vim.fault.NotFound(msg=text)
    if error.id == _WRONG:
        return vmodl.fault.InvalidArgument(msg=text)
    if error.id != _REFUSED:
        return vmodl.fault.SystemError(reason=error.id, msg=f"{text} ({error.id})")
    words = text.removeprefix(f"{error.fault}: ")
    match error.fault:
        case "NoPermission":
            privilege = _PRIVILEGE.search(words)
            return vim.fault.NoPermission(
                object=entity, privilegeId=privilege[0] if privilege else "", msg=words
            )
        case "EncryptionKeyRequired":
            needed = [key_id(one) for one in error.keys]
            return vim.fault.EncryptionKeyRequired(requiredKey=needed, msg=words)
    return fault_named(error.fault, words, entity, power) or vmodl.RuntimeFault(msg=text)


def fault_named(name: str, text: str, entity: Any = None, power: str = "") -> Any:
    """The product's fault of this name, with the objects that it has to name; None where the
    product has none, or ``entity`` is no such object."""
    if name == "InvalidPowerState":
        return vim.fault.InvalidPowerState(existingState=power or "poweredOff", msg=text)
    kind = name and (getattr(vim.fault, name, None) or getattr(vmodl.fault, name, None))
    return _complete(kind(msg=text), entity) if kind else None


def _complete(fault: Any, entity: Any) -> Any:
    """The fault with the objects that it has to name; None when ``entity`` is no such object."""
    for known in fault._GetPropertyList():
        if known.flags & support.F_OPTIONAL or getattr(fault, known.name) is not None:
            continue
        if not isinstance(entity, known.type):
            return None
        setattr(fault, known.name, entity)
    return fault


def key_id(text: str) -> Any:
    """``provider/id`` as a ``CryptoKeyId``; a text without a provider names the id alone."""
    provider, slash, key = text.partition("/")
    if not slash:
        return vim.encryption.CryptoKeyId(keyId=text)
    named = vim.encryption.KeyProviderId(id=provider)
    return vim.encryption.CryptoKeyId(keyId=key, providerId=named)


def key_text(key: Any) -> str:
    """A ``CryptoKeyId`` as ``provider/id``; empty for an empty one."""
    if key is None or not key.keyId:
        return ""
    return f"{key.providerId.id}/{key.keyId}" if key.providerId else str(key.keyId)


def invalid_argument(name: str, text: str) -> Any:
    """An argument that does not fit, as ``InvalidArgument``."""
    return vmodl.fault.InvalidArgument(invalidProperty=name, msg=text)


def invalid_property(path: str) -> Any:
    """A property that a type does not have."""
    return vmodl.query.InvalidProperty(name=path, msg=f"there is no property {path}")


def no_permission(ref: Any, privilege: str) -> Any:
    """A privilege that the user does not have on an object."""
    text = "Permission to perform this operation was denied."
    return vim.fault.NoPermission(object=ref, privilegeId=str(privilege), msg=text)


def not_found(kind: Any, object_id: str) -> Any:
    """An id that no object has, or that an object had which is gone."""
    return vmodl.fault.ManagedObjectNotFound(
        obj=kind(object_id), msg="the object has been deleted, or was never there"
    )


def not_served(name: str, receiver: Any = None) -> Any:
    """A method of the product that keystead does not have: it is listed in ``docs/vsphere.md``."""
    return vmodl.fault.MethodNotFound(
        receiver=receiver or vim.ServiceInstance("ServiceInstance"),
        method=name,
        msg=f"keystead does not have {name}",
    )


def not_supported(name: str) -> Any:
    """The same for a method of which clients expect that a server may refuse it."""
    return vmodl.fault.NotSupported(msg=f"keystead does not have {name}")
