"""What a version of the API has: methods, arguments, fields and properties that came with it or
before. pyVmomi's type tables say since when each exists."""

from __future__ import annotations

import functools
from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vmodl

from lab.vsphere.faults import invalid_property, not_served

PC = vmodl.query.PropertyCollector
KEPT_PATHS = 4_096


def check_call(info: Any, kind: str, arguments: dict[str, Any], version: str) -> None:
    """Refuse what came after ``version``: a method with ``MethodNotFound``, an argument or one of
    its fields with ``InvalidRequest``, a property with ``InvalidProperty``."""
    check_method(info, version)
    for parameter in info.params:
        value = arguments.get(parameter.name)
        if value is None:
            continue
        check_field(parameter, version)
        _check_value(value, version)
    if info.wsdlName == "Fetch":
        _check_path(kind, arguments.get("prop", ""), version)


def check_method(info: Any, version: str) -> None:
    """``MethodNotFound`` for a method that came later."""
    if not support.IsChildVersion(version, info.version):
        raise not_served(info.wsdlName)


def check_field(info: Any, version: str) -> None:
    """``InvalidRequest`` for an argument or a field that came later."""
    if not support.IsChildVersion(version, info.version):
        raise vmodl.fault.InvalidRequest(
            msg=f"the request cannot be read: this version of the API does not have {info.name}"
        )


def _check_value(value: Any, version: str) -> None:
    if isinstance(value, list):
        for one in value:
            _check_value(one, version)
    elif isinstance(value, PC.PropertySpec):
        for path in value.pathSet or ():
            _check_path(getattr(value.type, "_wsdlName", ""), path, version)
    elif isinstance(value, support.DataObject):
        for field in value._GetPropertyList():
            held = getattr(value, field.name)
            if held is None or (isinstance(held, list) and not held):
                continue
            check_field(field, version)
            _check_value(held, version)


def _check_path(kind: str, path: str, version: str) -> None:
    if len(path) > 200:  # no property is as long: the object refuses it
        return
    for came in _versions_of(kind, path):
        if not support.IsChildVersion(version, came):
            raise invalid_property(path)


@functools.lru_cache(KEPT_PATHS)
def _versions_of(kind: str, path: str) -> tuple[str, ...]:
    """The versions with which the parts of a path came, as far as it leads in the tables."""
    found: list[str] = []
    try:
        holder = support.GetWsdlType("urn:vim25", kind)
        for part in path.split("."):
            info = holder._GetPropertyInfo(part)
            found.append(info.version)
            holder = info.type
    except (KeyError, AttributeError):
        pass  # an unknown type or property, or one of a subclass: the object knows
    return tuple(found)
