"""VI/JSON: ``/sdk/vim25/{release}/{type}/{id}/{name}``, methods by POST and properties by GET.

The objects, and what they answer, are those of SOAP. A session comes with Login, in the header
``vmware-api-session-id``, and is named by it. A fault is the answer of a call, with status 500.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vmodl
from starlette.requests import ClientDisconnect
from starlette.requests import Request as WebRequest
from starlette.responses import Response
from starlette.routing import Route

from lab.vsphere.http.body import read_body, while_connected
from lab.vsphere.json_codec import read_arguments, write_contents, write_fault, write_value
from lab.vsphere.service import ApiCall, ApiServer
from lab.vsphere.soap import Call, complete, find_method, newest, version_of
from lab.vsphere.vim.managed import RetrievedProperties, type_at

_log = logging.getLogger(__name__)
HEADER = "vmware-api-session-id"
FIRST = "8.0.1.0"
"""The first version of the API that has VI/JSON."""
_WAITS = frozenset({"WaitForUpdates", "WaitForUpdatesEx"})
_NAMESPACE = "urn:vim25"


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
