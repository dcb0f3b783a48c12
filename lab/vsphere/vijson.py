"""VI/JSON, as 8.0 U1 and later writes it: ``/sdk/vim25/{release}/{type}/{id}/{name}``, methods by
POST and properties by GET, on pyVmomi's type tables.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vmodl
from pyVmomi.Iso8601 import ISO8601Format, ParseISO8601
from starlette.requests import ClientDisconnect
from starlette.requests import Request as WebRequest
from starlette.responses import Response
from starlette.routing import Route

from lab.vsphere.http.body import read_body, while_connected
from lab.vsphere.service import ApiCall, ApiServer
from lab.vsphere.soap import DEPTH_LIMIT, Call, complete, find_method, newest, version_of
from lab.vsphere.vim.managed import RetrievedProperties, type_at

TYPE, VALUE = "_typeName", "_value"
_REFERENCE = "ManagedObjectReference"
_NAMESPACE = "urn:vim25"
_RANGES = {
    support.byte: (-(1 << 7), (1 << 8) - 1),
    support.short: (-(1 << 15), (1 << 15) - 1),
    int: (-(1 << 31), (1 << 31) - 1),
    support.long: (-(1 << 63), (1 << 63) - 1),
}


# ---- writing


def _is_name(kind: Any) -> bool:
    """Whether values of this type are names: of a type, a method or a property."""
    return kind in (type, support.ManagedMethod, support.PropertyPath)


def _array_name(value: Any) -> str:
    item = value.Item
    if _is_name(item):
        return "ArrayOfString"
    if issubclass(item, support.ManagedObject):
        return f"ArrayOf{_REFERENCE}"
    return f"ArrayOf{support.Capitalize(support.GetWsdlName(item))}"


def write_value(value: Any, declared: Any, version: str) -> Any:
    """A value as what ``json`` writes. ``declared``: the type of its place, ``object`` for any."""
    if isinstance(value, support.ManagedObject):
        return {TYPE: _REFERENCE, "type": type(value)._wsdlName, "value": value._moId}
    if isinstance(value, vmodl.MethodFault):
        text = value.msg or type(value).__name__
        fault = write_fault(value, version)
        return {TYPE: "LocalizedMethodFault", "fault": fault, "localizedMessage": text}
    if isinstance(value, support.DataObject):
        return _write_object(value, version)
    if isinstance(value, list):
        holder: Any = type(value) if declared is object else declared
        item = holder.Item
        found = [write_value(one, item, version) for one in value]
        return {TYPE: _array_name(value), VALUE: found} if declared is object else found
    plain, name = _write_plain(value)
    return {TYPE: name, VALUE: plain} if declared is object else plain


def _write_plain(value: Any) -> tuple[Any, str]:
    """A value that is no object, and the name of its type."""
    if isinstance(value, support.ManagedMethod):
        return value.info.wsdlName, "string"
    if isinstance(value, type):
        return support.GetWsdlName(value), "string"
    if isinstance(value, support.datetime):
        return ISO8601Format(value), "dateTime"
    if isinstance(value, support.binary):
        return base64.b64encode(value).decode(), "binary"
    if isinstance(value, support.byte):
        return value & 0xFF, "byte"  # govmomi reads 0 to 255 here, and a sign in SOAP
    if isinstance(value, support.PropertyPath):
        return str(value), "string"
    if isinstance(value, support.Enum):
        return str(value), type(value)._wsdlName
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    return value, str(support.GetWsdlName(support.Type(value)))


def _fields(value: Any, version: str) -> dict[str, Any]:
    found = {}
    for field in value._GetPropertyList():
        held = getattr(value, field.name)
        if held is None or not support.IsChildVersion(version, field.version):
            continue
        absent = isinstance(held, list) and not held and field.type is not object
        if absent and field.flags & support.F_OPTIONAL:
            continue
        found[field.name] = write_value(held, field.type, version)
    return found


def _write_object(value: Any, version: str) -> dict[str, Any]:
    kind = support.GetCompatibleType(support.Type(value), version)
    return {TYPE: kind._wsdlName, **_fields(value, version)}


def write_fault(fault: Any, version: str) -> dict[str, Any]:
    """A fault itself, with its text as ``faultstring``, as it is the answer of a call."""
    found = _write_object(fault, version)
    found.pop("msg", None)
    return {**found, "faultstring": fault.msg or type(fault).__name__}


def write_contents(value: RetrievedProperties, single: bool, version: str) -> str:
    """The properties of many objects as text; ``single``: as ``RetrieveProperties`` gives them."""

    def write(held: Any, _: str) -> str:
        return json.dumps(write_value(held, object, version))

    objects = []
    for one in value.objects:
        properties = ", ".join(
            f'{{"{TYPE}": "DynamicProperty", "name": {json.dumps(path)}, '
            f'"val": {one.text(path, f"json {version}", write)}}}'
            for path in one.paths
        )
        reference = {TYPE: _REFERENCE, "type": one.kind._wsdlName, "value": one.id}
        objects.append(
            f'{{"{TYPE}": "ObjectContent", "obj": {json.dumps(reference)}, '
            f'"propSet": [{properties}]}}'
        )
    listed = f"[{', '.join(objects)}]"
    if single:
        return listed
    token = f'"token": {json.dumps(value.token)}, ' if value.token else ""
    return f'{{"{TYPE}": "RetrieveResult", {token}"objects": {listed}}}'


# ---- reading


class _Unreadable(ValueError):
    """What is wrong, and where."""


def read_arguments(body: bytes, parameters: Any, version: str) -> dict[str, Any]:
    """The arguments of a method. Raises ``InvalidRequest``."""
    try:
        found = json.loads(body) if body.strip() else {}
        if not isinstance(found, dict):
            raise _Unreadable("an object is wanted")
        found = {k: v for k, v in found.items() if k not in (TYPE, "_this") and v is not None}
        known = {p.name: p.type for p in parameters}
        for name in found:
            if name not in known:
                raise _Unreadable(f"there is no parameter {name[:60]}")
        return {n: read_value(v, known[n], version, n) for n, v in found.items()}
    except (ValueError, RecursionError, OverflowError) as error:
        text = str(error) if isinstance(error, _Unreadable) else "it is no JSON"
        raise vmodl.fault.InvalidRequest(msg=f"the request cannot be read: {text}") from None


def read_value(data: Any, declared: Any, version: str, where: str, depth: int = 0) -> Any:
    """A value of JSON as a value of a type; ``ValueError`` when it is none."""
    if depth > DEPTH_LIMIT:
        raise _Unreadable("it lies too deep")
    if declared is object:
        return _read_any(data, version, where, depth)
    if issubclass(declared, list):
        if not isinstance(data, list):
            raise _Unreadable(f"{where}: a list is wanted")
        item = declared.Item
        return declared([read_value(one, item, version, where, depth + 1) for one in data])
    if _is_name(declared) or issubclass(declared, support.Enum):
        return _read_name(data, declared, where)
    if issubclass(declared, support.ManagedObject):
        return _read_reference(data, where)
    if issubclass(declared, support.DataObject):
        return _read_object(data, declared, version, where, depth)
    return _read_plain(data, declared, where)


def _type_named(name: Any, where: str) -> Any:
    try:
        if not isinstance(name, str):
            raise KeyError
        if name == _REFERENCE:
            return support.ManagedObject
        if name == f"ArrayOf{_REFERENCE}":
            return support.ManagedObject.Array
        return support.GetWsdlType(_NAMESPACE, name)
    except (KeyError, AttributeError):
        raise _Unreadable(f"{where}: there is no type {str(name)[:60]}") from None


_PLAIN_TYPES = {
    "boolean": bool, "byte": support.byte, "short": support.short, "int": int,
    "long": support.long, "float": float, "double": support.double, "string": str,
    "binary": support.binary, "dateTime": support.datetime,
}  # fmt: skip


def _read_any(data: Any, version: str, where: str, depth: int) -> Any:
    if not isinstance(data, dict):
        if isinstance(data, bool | int | float | str):
            return data
        raise _Unreadable(f"{where}: a value with {TYPE} is wanted")
    name = data.get(TYPE)
    kind = _PLAIN_TYPES.get(name) if isinstance(name, str) else None
    kind = kind or _type_named(name, where)
    if kind is object:
        raise _Unreadable(f"{where}: it has no type")
    held = data.get(VALUE) if VALUE in data else data
    return read_value(held, kind, version, where, depth + 1)


def _read_name(data: Any, declared: Any, where: str) -> Any:
    if not isinstance(data, str):
        raise _Unreadable(f"{where}: a text is wanted")
    if declared is type:
        return _type_named(data, where)
    if declared is support.ManagedMethod:
        try:
            return support.GetWsdlMethod(_NAMESPACE, data)
        except KeyError:
            raise _Unreadable(f"{where}: there is no method {data[:60]}") from None
    if issubclass(declared, support.Enum) and data not in declared.values:
        raise _Unreadable(f"{where}: {data[:60]} is no {declared._wsdlName}")
    return declared(data)


def _read_reference(data: Any, where: str) -> Any:
    if not isinstance(data, dict) or not isinstance(data.get("value"), str):
        raise _Unreadable(f"{where}: a reference is wanted")
    kind = _type_named(data.get("type"), where)
    if not (isinstance(kind, type) and issubclass(kind, support.ManagedObject)):
        raise _Unreadable(f"{where}: {data['type'][:60]} is no managed object")
    return kind(data["value"])


def _read_object(data: Any, declared: Any, version: str, where: str, depth: int) -> Any:
    if not isinstance(data, dict):
        raise _Unreadable(f"{where}: an object is wanted")
    kind: Any = _type_named(data[TYPE], where) if TYPE in data else declared
    if not issubclass(kind, declared):
        raise _Unreadable(f"{where}: {str(data.get(TYPE))[:60]} is no {declared._wsdlName}")
    made = support.GetCompatibleType(kind, version)()
    for name, held in data.items():
        if name == TYPE or held is None:
            continue
        try:
            field = kind._GetPropertyInfo(name)
        except AttributeError:
            raise _Unreadable(f"{where}: there is no field {name[:60]}") from None
        if not support.IsChildVersion(version, field.version):
            continue
        read = read_value(held, field.type, version, f"{where}.{name}", depth + 1)
        if isinstance(read, list) and not read:
            continue  # pyVmomi refuses an empty list that is required
        try:
            setattr(made, name, read)
        except TypeError as error:
            raise _Unreadable(f"{where}: {error}") from None
    return made


def _read_plain(data: Any, declared: Any, where: str) -> Any:
    try:
        if declared in (bool, str) and type(data) is declared:
            return data
        if declared is support.datetime and isinstance(data, str):
            found = ParseISO8601(data)
            if found is not None:
                return found
        if declared is support.binary and isinstance(data, str):
            return declared(base64.b64decode(data, validate=True))
        if declared is support.URI and isinstance(data, str):
            return declared(data)
        if isinstance(data, int | float) and not isinstance(data, bool):
            low, high = _RANGES.get(declared, (0, -1))
            if issubclass(declared, float) or (isinstance(data, int) and low <= data <= high):
                return declared(data)
    except (ValueError, binascii.Error, OverflowError):
        pass
    raise _Unreadable(f"{where}: {support.GetWsdlName(declared)} is wanted")


_log = logging.getLogger(__name__)
HEADER = "vmware-api-session-id"
FIRST = "8.0.1.0"
"""The first version of the API that has VI/JSON."""
_WAITS = frozenset({"WaitForUpdates", "WaitForUpdatesEx"})


class ViJson:
    """The route of one server."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._newest = newest(server.api_version)

    def _reference(self, web: WebRequest) -> Any:
        name, object_id = web.path_params["kind"], web.path_params["id"]
        try:
            kind = support.GetWsdlType(_NAMESPACE, name)
        except KeyError:
            kind = support.ManagedObject
        if not (isinstance(kind, type) and issubclass(kind, support.ManagedObject)):
            kind = support.ManagedObject
        return kind(object_id)

    def _request(self, web: WebRequest) -> ApiCall:
        session = self.server.sessions.find(web.headers.get(HEADER, ""))
        address = web.client.host if web.client else ""
        return ApiCall(self.server, session, web.headers.get("user-agent", ""), address)

    async def answer(self, web: WebRequest) -> Response:
        """Answer one call, or one question for a property."""
        version = version_of(f"{_NAMESPACE}/{web.path_params['release']}", self._newest)
        try:
            if web.method == "GET":
                return await self._read(web, version)
            return await self._call(web, version)
        except vmodl.MethodFault as fault:
            return _json(write_fault(fault, version), 500)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as defect:
            _log.exception("a request that could not be answered")
            unknown = vmodl.fault.SystemError(reason=type(defect).__name__, msg=str(defect))
            return _json(write_fault(unknown, version), 500)

    async def _read(self, web: WebRequest, version: str) -> Response:
        reference, path = self._reference(web), web.path_params["name"]
        request = self._request(web)
        value = await request.call(reference, "Fetch", {"prop": path})
        if value is None:
            return Response(status_code=204)
        return _json(write_value(value, type_at(type(request.find(reference)), path), version))

    async def _call(self, web: WebRequest, version: str) -> Response:
        name, reference = web.path_params["name"], self._reference(web)
        info = find_method(_NAMESPACE, name)
        arguments = read_arguments(await read_body(web), info.params, version)
        call = Call(type(reference)._wsdlName, reference._moId, info, arguments, version)
        complete(call)
        request = self._request(web)
        work = request.call(reference, name, call.arguments)
        value = await (while_connected(web, work) if name in _WAITS else work)
        headers = {HEADER: request.opened.token} if request.opened is not None else {}
        empty = isinstance(value, list) and not value and info.resultFlags & support.F_OPTIONAL
        if value is None or empty:
            return Response(status_code=204, headers=headers)
        if isinstance(value, RetrievedProperties):
            single = name == "RetrieveProperties"
            if not value.objects and not single:
                return Response(status_code=204)
            text = write_contents(value, single, version)
            return Response(text, 200, headers, media_type="application/json")
        result = info.result
        if isinstance(value, list) and issubclass(result, list):
            value = result(value)
        return _json(write_value(value, result, version), 200, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers or {}, media_type="application/json")


def routes(server: ApiServer) -> list[Route]:
    """The route, if this server's version of the API has it."""
    if not support.IsChildVersion(newest(server.api_version), newest(FIRST)):
        return []
    path = "/sdk/vim25/{release}/{kind}/{id}/{name}"
    return [Route(path, ViJson(server).answer, methods=["GET", "POST"])]
