"""vAPI by JSON-RPC 2.0 at ``/api``, as the vSphere Automation SDK sends it.

A call names a service and an operation, and has its arguments in typed values. Errors of an
operation are part of its result; what is no call is an error of JSON-RPC.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from typing import TYPE_CHECKING, Any

from pyVmomi import vmodl
from starlette.requests import ClientDisconnect
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.vsphere.http.body import read_body
from lab.vsphere.soap import DEPTH_LIMIT
from lab.vsphere.vapi.operations import (
    MESSAGE,
    SECRET,
    Listed,
    Optional,
    VapiCall,
    VapiError,
    VapiStructure,
    message,
    write_shaped,
)
from lab.vsphere.vapi.rest import HEADER, OPERATIONS, base_of, log_in, perform, show_session

if TYPE_CHECKING:
    from lab.vsphere.service import ApiServer

_log = logging.getLogger(__name__)
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


def routes(server: ApiServer) -> list[Route]:
    """The route."""
    return [Route("/api", JsonRpc(server).answer, methods=["POST"])]
