"""vAPI by REST and by JSON-RPC 2.0 at ``/api``, as the vSphere Automation SDK sends it: routes for
the tables of operations, and sessions.
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
from lab.vsphere.soap import DEPTH_LIMIT
from lab.vsphere.vapi import inventory as vapi_inventory
from lab.vsphere.vapi import providers as vapi_providers
from lab.vsphere.vapi import trust as vapi_trust
from lab.vsphere.vapi.operations import (
    MESSAGE,
    SECRET,
    Listed,
    Optional,
    VapiCall,
    VapiError,
    VapiOperation,
    VapiStructure,
    error_of,
    message,
    time_text,
    write_shaped,
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


_SESSION = "com.vmware.cis.session"
_SESSION_INFO = VapiStructure(
    f"{_SESSION}.info", {"user": None, "created_time": None, "last_accessed_time": None}
)
_BY_NAME = {(one.service, one.name): one for one in OPERATIONS if one.service}
_PARSE_ERROR, _INVALID_REQUEST, _METHOD_NOT_FOUND, _INVALID_PARAMS = -32700, -32600, -32601, -32602


class _NoCall(Exception):
    """What was sent is no call: the number of JSON-RPC's error."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


def read_typed(data: Any, depth: int = 0) -> Any:
    """A typed value as a plain one. Raises ``_NoCall``."""
    if depth > DEPTH_LIMIT:
        raise _NoCall(_INVALID_PARAMS, "a value lies too deep")
    if isinstance(data, list):
        return [read_typed(one, depth + 1) for one in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise _NoCall(_INVALID_PARAMS, "a value has one tag")
    tag, held = next(iter(data.items()))
    match tag, held:
        case "STRUCTURE", dict() if len(held) == 1:
            fields = next(iter(held.values()))
            if isinstance(fields, dict):
                return {name: read_typed(one, depth + 1) for name, one in fields.items()}
        case "OPTIONAL", _:
            return read_typed(held, depth + 1)
        case "SECRET", str():
            return held
        case "BINARY", str():
            try:
                return base64.b64decode(held, validate=True)
            except (ValueError, binascii.Error):
                pass
    raise _NoCall(_INVALID_PARAMS, f"{str(tag)[:40]}: it is no such value")


def _error(error: VapiError) -> dict[str, Any]:
    shape = VapiStructure(
        f"com.vmware.vapi.std.errors.{error.name}",
        {"messages": Listed(MESSAGE), "data": Optional(), "error_type": Optional()},
    )
    held = {"messages": [message(error.name, str(error))], "error_type": error.name.upper()}
    return {"ERROR": write_shaped(held, shape)["STRUCTURE"]}


def _parts(found: Any) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Service, operation, arguments and the caller's context. Raises ``_NoCall``."""
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0":
        raise _NoCall(_INVALID_REQUEST, "it is no request of JSON-RPC 2.0")
    if found.get("method") != "invoke":
        raise _NoCall(_METHOD_NOT_FOUND, "the method is invoke")
    params = found.get("params")
    if not isinstance(params, dict):
        raise _NoCall(_INVALID_PARAMS, "params is an object")
    service, operation = params.get("serviceId"), params.get("operationId")
    if not isinstance(service, str) or not isinstance(operation, str):
        raise _NoCall(_INVALID_PARAMS, "serviceId and operationId are texts")
    arguments = read_typed(params.get("input") or {"STRUCTURE": {"operation-input": {}}})
    if not isinstance(arguments, dict):
        raise _NoCall(_INVALID_PARAMS, "input is a structure")
    context = params.get("ctx")
    security = context.get("securityCtx") if isinstance(context, dict) else None
    return service, operation, arguments, security if isinstance(security, dict) else {}


class JsonRpc:
    """The route of one server."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    async def answer(self, web: WebRequest) -> Response:
        """Answer one request."""
        number: Any = None
        try:
            try:
                found = json.loads(await read_body(web))
            except (ValueError, RecursionError):
                raise _NoCall(_PARSE_ERROR, "it is no JSON") from None
            except vmodl.MethodFault as fault:
                raise _NoCall(_INVALID_REQUEST, fault.msg) from None
            number = found.get("id") if isinstance(found, dict) else None
            service, operation, arguments, security = _parts(found)
            result = {"output": await self._invoke(web, service, operation, arguments, security)}
        except VapiError as error:
            result = {"error": _error(error)}
        except _NoCall as wrong:
            told = {"code": wrong.number, "message": str(wrong)}
            return JSONResponse({"jsonrpc": "2.0", "id": number, "error": told})
        except ClientDisconnect:
            return Response(status_code=499)
        return JSONResponse({"jsonrpc": "2.0", "id": number, "result": result})

    async def _invoke(
        self, web: WebRequest, service: str, name: str, arguments: dict[str, Any],
        security: dict[str, Any],
    ) -> Any:  # fmt: skip
        from lab.vsphere.service import ApiCall

        agent = web.headers.get("user-agent", "")
        if (service, name) == (_SESSION, "create"):
            user, password = security.get("userName"), security.get("password")
            if not isinstance(user, str) or not isinstance(password, str):
                raise VapiError("unauthenticated", "a user and a password are needed")
            session = await log_in(self.server, web, user, password)
            return write_shaped(session.token, SECRET)
        token = security.get("sessionId") or web.headers.get(HEADER, "")
        session = self.server.sessions.find(token) if isinstance(token, str) else None
        call = ApiCall(self.server, session, agent)
        if service == _SESSION and name in ("get", "delete"):
            if session is None:
                raise VapiError("unauthenticated", "the session is not authenticated")
            if name == "get":
                return write_shaped(show_session(session), _SESSION_INFO)
            self.server.sessions.end(session)
            return None
        operation = _BY_NAME.get((service, name))
        if operation is None:
            raise VapiError("operation_not_found", f"keystead does not have {service}.{name}")
        given = VapiCall(call, arguments, base_of(web))
        found = await perform(self.server, call, operation, given)
        return None if found is None else write_shaped(found, operation.result)


def json_rpc_routes(server: ApiServer) -> list[Route]:
    """The route."""
    return [Route("/api", JsonRpc(server).answer, methods=["POST"])]
