"""HTTP: SOAP at ``/sdk``, and the routes of vAPI. Cookies and limits are here."""

from __future__ import annotations

import logging
import re
from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vmodl
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as WebRequest
from starlette.responses import Response
from starlette.routing import Route

from lab.vsphere import vijson
from lab.vsphere.http.body import address_of, read_body, while_connected
from lab.vsphere.request import ApiSession
from lab.vsphere.service import ApiCall, ApiServer
from lab.vsphere.soap import (
    Call,
    newest,
    read_call,
    version_of,
    write_answer,
    write_fault,
)
from lab.vsphere.vapi import rest

_log = logging.getLogger(__name__)
COOKIE = "vmware_soap_session"
_TOKEN = re.compile(rf'(?:^|[;,\s]){COOKIE}="?(\w+)')
_WAITS = frozenset({"WaitForUpdates", "WaitForUpdatesEx"})
_PRIOR = ("9.0.0.0", "8.0.3.0", "8.0.2.0", "8.0.1.0", "8.0.0.1", "7.0.3.0", "7.0.2.0", "7.0.1.0",
          "7.0.0.0", "6.7")  # fmt: skip


def versions_file(api_version: str) -> str:
    """``vimServiceVersions.xml``: what clients choose their version from."""
    prior = [v for v in _PRIOR if v < api_version]
    lines = "".join(f"<version>{v}</version>" for v in prior)
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><namespaces version="1.0"><namespace>'
        f"<name>urn:vim25</name><version>{api_version}</version>"
        f"<priorVersions>{lines}</priorVersions></namespace></namespaces>"
    )


def token_of(request: WebRequest) -> str:
    """The token of a session: of the cookie, which some clients echo with its attributes."""
    found = _TOKEN.search(request.headers.get("cookie", ""))
    return found[1] if found is not None else ""


class Soap:
    """The route ``/sdk``."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._newest = newest(server.api_version)

    async def __call__(self, web: WebRequest) -> Response:
        """Answer one envelope."""
        version = version_of(web.headers.get("soapaction", ""), self._newest)
        headers: dict[str, str] = {}
        try:
            call = read_call(await read_body(web), version)
            session = self.server.sessions.find(token_of(web))
            request = ApiCall(
                self.server, session, web.headers.get("user-agent", ""), address_of(web)
            )
            answer = write_answer(call, await self._perform(web, request, call))
            if request.opened is not None:
                headers["set-cookie"] = _cookie(request.opened)
            status = 200
        except vmodl.MethodFault as fault:
            answer, status = write_fault(fault, version), 500
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as defect:
            _log.exception("a request that could not be answered")
            unknown = vmodl.fault.SystemError(reason=type(defect).__name__, msg=str(defect))
            answer, status = write_fault(unknown, version), 500
        return Response(answer, status, headers, media_type="text/xml; charset=utf-8")

    async def _perform(self, web: WebRequest, request: ApiCall, call: Call) -> Any:
        try:
            kind = support.GetWsdlType("urn:vim25", call.kind) if call.kind else None
        except KeyError:
            kind = None
        reference = (kind or support.ManagedObject)(call.id)
        work = request.call(reference, call.name, call.arguments)
        if call.name not in _WAITS:
            return await work
        return await while_connected(web, work)


def _cookie(session: ApiSession) -> str:
    return f'{COOKIE}="{session.token}"; Path=/; HttpOnly; Secure; SameSite=Lax'


_SDK = frozenset({"/sdk", "/sdk/", "/sdk/webService"})


def application(server: ApiServer) -> Any:
    """The ASGI application of one vCenter. SOAP, which most requests are, takes a shorter way than
    through the routes."""
    soap = Soap(server)
    versions = versions_file(server.api_version)

    async def show_versions(_: WebRequest) -> Response:
        return Response(versions, media_type="text/xml")

    async def show_health(_: WebRequest) -> Response:
        return Response("ok\n", media_type="text/plain")

    routes = [
        Route("/sdk/vimServiceVersions.xml", show_versions),
        Route("/health", show_health),
        *(rest.routes(server) + rest.json_rpc_routes(server) if server.has_vapi else []),
        *vijson.routes(server),
    ]
    others = Starlette(routes=routes)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in _SDK:
            response = await soap(WebRequest(scope, receive, send))
            await response(scope, receive, send)
        else:
            await others(scope, receive, send)

    return answer
