"""Refusals of the lab as faults of the product, and the faults of the API server itself."""

from __future__ import annotations

import re
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema.errors import KeysteadError

_REFUSED = "KS-PRODUCT-001"
_FAULT = re.compile(r"^([A-Z][A-Za-z]+): (.*)$", re.DOTALL)
_KEYS = re.compile(r"\(keys: ([^)]*)\)$")
_PRIVILEGE = re.compile(r"[A-Z]\w+\.[A-Z]\w+(?:\.[A-Z]\w+)?")
_ABSENT = "KS-USE-002"
_WRONG = "KS-USE-003"


def fault_of(error: KeysteadError, entity: Any = None) -> Any:
    """The fault that a client gets for a refusal. ``entity``: the object of the call.

    A refusal of the product begins with the name of its fault. A lab that does not answer is
    ``HostCommunication``.
    """
    text = str(error)
    if error.id == _ABSENT:
        return vim.fault.NotFound(msg=text)
    if error.id == _WRONG:
        return vmodl.fault.InvalidArgument(msg=text)
    if error.id != _REFUSED:
        return vmodl.fault.SystemError(reason=error.id, msg=f"{text} ({error.id})")
    found = _FAULT.match(text)
    name, words = (found[1], found[2]) if found else ("", text)
    match name:
        case "NoPermission":
            privilege = _PRIVILEGE.search(words)
            return vim.fault.NoPermission(
                object=entity, privilegeId=privilege[0] if privilege else "", msg=words
            )
        case "EncryptionKeyRequired":
            keys = _KEYS.search(words)
            needed = [key_id(one) for one in keys[1].split(", ")] if keys else []
            return vim.fault.EncryptionKeyRequired(requiredKey=needed, msg=words)
        case "InvalidPowerState":
            return vim.fault.InvalidPowerState(existingState="poweredOff", msg=words)
    for place in (vim.fault, vmodl.fault):
        kind = getattr(place, name, None) if name else None
        if kind is not None:
            return kind(msg=words)
    return vmodl.RuntimeFault(msg=text)


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
