"""vAPI by REST: routes for the tables of operations, and sessions.

``/api`` answers plainly, ``/rest`` wraps its answers in ``value``, as older clients want it.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pyVmomi import vmodl
from starlette.requests import ClientDisconnect
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.schema.errors import KeysteadError
from lab.vsphere.http.body import address_of, read_body
from lab.vsphere.vapi import inventory as vapi_inventory
from lab.vsphere.vapi import providers as vapi_providers
from lab.vsphere.vapi import trust as vapi_trust
from lab.vsphere.vapi.operations import (
    VapiCall,
    VapiError,
    VapiOperation,
    error_of,
    message,
    time_text,
)
from protocol.authorization import Privilege

if TYPE_CHECKING:
    from lab.vsphere.service import ApiCall, ApiServer

_log = logging.getLogger(__name__)
HEADER = "vmware-api-session-id"
OPERATIONS: tuple[VapiOperation, ...] = (
    *vapi_inventory.OPERATIONS, *vapi_providers.OPERATIONS, *vapi_trust.OPERATIONS,
)  # fmt: skip
"""Every operation of vAPI that is here, but those of sessions."""


def _problem(error: VapiError, old: bool) -> Response:
    told = [message(error.name, str(error))]
    if old:
        body: dict[str, Any] = {
            "type": f"com.vmware.vapi.std.errors.{error.name}",
            "value": {"messages": told},
        }
    else:
        body = {"error_type": error.name.upper(), "messages": told}
    headers = {"WWW-Authenticate": 'Basic realm="vapi"'} if error.status == 401 else {}
    return JSONResponse(body, error.status, headers)


async def perform(
    server: ApiServer, call: ApiCall, operation: VapiOperation, given: VapiCall
) -> Any:
    """The plain result of an operation. Raises ``VapiError``, whatever went wrong."""
    try:
        _ = call.session
        await server.refresh()
        _ = call.session
        await call.require(Privilege.READ)
        return await operation.work(given)
    except KeysteadError as error:
        raise error_of(await server.refusal(error)) from None
    except vmodl.MethodFault as fault:
        raise error_of(fault) from None
    except (VapiError, ClientDisconnect):
        raise
    except Exception as defect:
        _log.exception("an operation of vAPI that could not be done")
        raise VapiError("internal_server_error", type(defect).__name__, 500) from None


async def log_in(server: ApiServer, web: WebRequest, user: str, password: str) -> Any:
    """A new session of the client that asks. Raises ``VapiError``."""
    agent = web.headers.get("user-agent", "")
    try:
        return await server.log_in(user, password, agent, address_of(web))
    except vmodl.MethodFault as fault:
        raise error_of(fault) from None
    except KeysteadError as error:
        raise error_of(await server.refusal(error)) from None


def show_session(session: Any) -> dict[str, Any]:
    """What is said of a session."""
    return {
        "user": session.user,
        "created_time": time_text(session.login_time),
        "last_accessed_time": time_text(session.last_active),
    }


def base_of(web: WebRequest) -> str:
    """The address by which a client came."""
    return f"{web.url.scheme}://{web.url.netloc}"


def _filters(web: WebRequest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in web.query_params.multi_items():
        found.setdefault(key.removeprefix("filter."), []).extend(value.split(","))
    return {k.partition(".")[0]: v for k, v in found.items()}


async def _spec(web: WebRequest) -> dict[str, Any]:
    try:
        body = await read_body(web)
        found = json.loads(body) if body.strip() else {}
    except vmodl.MethodFault as fault:
        raise error_of(fault) from None
    except (ValueError, RecursionError):
        raise VapiError("invalid_argument", "the body is no JSON") from None
    if not isinstance(found, dict):
        raise VapiError("invalid_argument", "the body is no JSON object")
    spec = found.get("spec", found)
    return spec if isinstance(spec, dict) else found


class RestRoutes:
    """The routes of one server."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    def _call(self, web: WebRequest) -> ApiCall:
        from lab.vsphere.service import ApiCall

        token = web.headers.get(HEADER) or web.cookies.get(HEADER, "")
        session = self.server.sessions.find(token)
        return ApiCall(self.server, session, web.headers.get("user-agent", ""))

    def route(self, by_action: dict[str, VapiOperation]) -> Any:
        """Answers the operations of a path and a method: by ``?action=``."""

        async def answer(web: WebRequest) -> Response:
            old = web.url.path.startswith("/rest")
            try:
                call, action = self._call(web), web.query_params.get("action", "")
                operation = by_action.get(action)
                if operation is None:
                    _ = call.session
                    raise VapiError("invalid_argument", f"there is no action {action}")
                arguments: dict[str, Any] = dict(web.path_params)
                if operation.selects:
                    arguments[operation.selects] = _filters(web)
                if web.method in ("POST", "PATCH"):
                    arguments["spec"] = await _spec(web)
                given = VapiCall(call, arguments, base_of(web))
                found = await perform(self.server, call, operation, given)
            except vmodl.MethodFault as fault:
                return _problem(error_of(fault), old)
            except VapiError as error:
                return _problem(error, old)
            except ClientDisconnect:
                return Response(status_code=499)
            if found is None:
                return Response(status_code=200 if old else 204)
            return JSONResponse({"value": found} if old else found)

        return answer

    # ---- sessions

    async def open_session(self, web: WebRequest) -> Response:
        """Log in by Basic authentication."""
        old = web.url.path.startswith("/rest")
        kind, _, text = web.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
            if kind.lower() != "basic":
                raise ValueError(kind)
            session = await log_in(self.server, web, user, password)
        except (ValueError, binascii.Error):
            return _problem(
                VapiError("unauthenticated", "Basic authentication is needed", 401), old
            )
        except VapiError as error:
            return _problem(error, old)
        body = {"value": session.token} if old else session.token
        cookie = f"{HEADER}={session.token}; Path=/; HttpOnly; Secure"
        return JSONResponse(
            body, 200 if old else 201, {HEADER: session.token, "set-cookie": cookie}
        )

    async def show_session(self, web: WebRequest) -> Response:
        """Who is logged in."""
        old = web.url.path.startswith("/rest")
        try:
            found = show_session(self._call(web).session)
        except vmodl.MethodFault as fault:
            return _problem(error_of(fault), old)
        return JSONResponse({"value": found} if old else found)

    async def end_session(self, web: WebRequest) -> Response:
        """Log out."""
        old = web.url.path.startswith("/rest")
        try:
            self.server.sessions.end(self._call(web).session)
        except vmodl.MethodFault as fault:
            return _problem(error_of(fault), old)
        return Response(status_code=200 if old else 204)

    async def download(self, web: WebRequest) -> Response:
        """The backup file of a provider, once for each token."""
        token = web.headers.get("authorization", "").removeprefix("Bearer ")
        name = web.path_params["provider"]
        try:
            data = await self.server.downloads.take(self.server, token, name)
        except VapiError as error:
            return _problem(error, False)
        except KeysteadError as error:
            return _problem(error_of(await self.server.refusal(error)), False)
        return Response(
            data,
            media_type="application/octet-stream",
            headers={"content-disposition": f'attachment; filename="{name}.p12"'},
        )


def routes(server: ApiServer) -> list[Route]:
    """All routes of vAPI."""
    it = RestRoutes(server)
    found = []
    for path in ("/rest/com/vmware/cis/session", "/api/session"):
        found += [
            Route(path, it.open_session, methods=["POST"]),
            Route(path, it.show_session, methods=["GET"]),
            Route(path, it.end_session, methods=["DELETE"]),
        ]
    by_path: dict[tuple[str, str], dict[str, VapiOperation]] = defaultdict(dict)
    for one in OPERATIONS:
        if not one.path:
            continue
        for base in ("/api", "/rest") if one.old else ("/api",):
            path, _, action = one.path.partition("?action=")
            by_path[one.method, base + path][action] = one
            if one.also:
                by_path[one.method, base + one.also][""] = one
    for (method, path), operations in by_path.items():
        found.append(Route(path, it.route(operations), methods=[method]))
    download = Route("/cryptomanager/kms/{provider}", it.download, methods=["GET", "POST"])
    return [*found, download]
