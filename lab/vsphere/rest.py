"""vAPI by REST: sessions, VMs with their power, hosts, clusters, native key providers.

``/api`` answers plainly, ``/rest`` wraps its answers in ``value``, as older clients want it.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.vsphere.body import read_body
from lab.vsphere.faults import no_permission
from lab.vsphere.files import write_secret
from protocol.authorization import Privilege
from protocol.terms import ManagementType

if TYPE_CHECKING:
    from lab.vsphere.service import ApiCall, ApiServer

HEADER = "vmware-api-session-id"
_PROVIDERS = "/api/vcenter/crypto-manager/kms/providers"
_TOKEN_S = 60.0
_KINDS: tuple[tuple[Any, str, int], ...] = (
    (vim.fault.NoPermission, "unauthorized", 403),
    (vim.fault.NotAuthenticated, "unauthenticated", 401),
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
Handler = Callable[["ApiCall", WebRequest], Awaitable[Any]]


class RestError(Exception):
    """An error of vAPI: its name, and what happened."""

    def __init__(self, name: str, text: str, status: int) -> None:
        super().__init__(text)
        self.name, self.status = name, status


def _refusal_of(fault: Any) -> RestError:
    for kind, name, status in _KINDS:
        if isinstance(fault, kind):
            return RestError(name, fault.msg or name, status)
    return RestError("error", fault.msg or type(fault).__name__, 500)


def _problem(error: RestError, old: bool) -> Response:
    message = {"id": f"com.keystead.{error.name}", "default_message": str(error), "args": []}
    if old:
        body: dict[str, Any] = {
            "type": f"com.vmware.vapi.std.errors.{error.name}",
            "value": {"messages": [message]},
        }
    else:
        body = {"error_type": error.name.upper(), "messages": [message]}
    headers = {"WWW-Authenticate": 'Basic realm="vapi"'} if error.status == 401 else {}
    return JSONResponse(body, error.status, headers)


class RestOperations:
    """The operations, each of which gets a session."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._downloads: dict[str, tuple[str, str, str, float]] = {}

    def wrap(self, handler: Handler, made: int = 200) -> Callable[[WebRequest], Any]:
        """A route that answers what ``handler`` returns, with ``made`` as its status."""

        async def route(web: WebRequest) -> Response:
            from lab.vsphere.service import ApiCall

            old = web.url.path.startswith("/rest")
            token = web.headers.get(HEADER) or web.cookies.get(HEADER, "")
            session = self.server.sessions.find(token)
            request = ApiCall(self.server, session, web.headers.get("user-agent", ""))
            try:
                _ = request.session
                await self.server.refresh()
                _ = request.session
                await request.require(Privilege.READ)
                answer = await handler(request, web)
            except KeysteadError as error:
                return _problem(_refusal_of(await self.server.refusal(error)), old)
            except vmodl.MethodFault as fault:
                return _problem(_refusal_of(fault), old)
            except RestError as refusal:
                return _problem(refusal, old)
            if isinstance(answer, Response):
                return answer
            if answer is None:
                return Response(status_code=200 if old or made == 200 else made)
            return JSONResponse({"value": answer} if old else answer, made)

        return route

    # ---- sessions

    async def open_session(self, web: WebRequest) -> Response:
        """Log in by Basic authentication."""
        old = web.url.path.startswith("/rest")
        kind, _, text = web.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
            if kind.lower() != "basic":
                raise ValueError(kind)
            agent = web.headers.get("user-agent", "")
            session = await self.server.log_in(user, password, agent, "")
        except (ValueError, binascii.Error):
            return _problem(
                RestError("unauthenticated", "Basic authentication is needed", 401), old
            )
        except vmodl.MethodFault as fault:
            return _problem(_refusal_of(fault), old)
        except KeysteadError as error:
            return _problem(_refusal_of(await self.server.refusal(error)), old)
        body = {"value": session.token} if old else session.token
        cookie = f"{HEADER}={session.token}; Path=/; HttpOnly; Secure"
        return JSONResponse(
            body, 200 if old else 201, {HEADER: session.token, "set-cookie": cookie}
        )

    async def show_session(self, request: ApiCall, _: WebRequest) -> Any:
        """Who is logged in."""
        session = request.session
        return {
            "user": session.user,
            "created_time": _time(session.login_time),
            "last_accessed_time": _time(session.last_active),
        }

    async def end_session(self, request: ApiCall, web: WebRequest) -> Any:
        """Log out."""
        self.server.sessions.end(request.session)
        return Response(status_code=200 if web.url.path.startswith("/rest") else 204)

    # ---- inventory

    async def list_vms(self, request: ApiCall, web: WebRequest) -> Any:
        """VMs, by name, host, cluster or power state."""
        wanted = _filters(web)
        return [
            {
                "vm": vm.id,
                "name": vm.name,
                "power_state": _POWER[vm.row.power.value],
                "cpu_count": vm.get("config.hardware.numCPU"),
                "memory_size_MiB": vm.get("config.hardware.memoryMB"),
            }
            for vm in request.inventory.vms.values()
            if _fits(wanted.get("names"), vm.name)
            and _fits(wanted.get("vms"), vm.id)
            and _fits(wanted.get("power_states"), _POWER[vm.row.power.value])
            and _fits(wanted.get("hosts"), vm.host.id if vm.host else "")
            and _fits(wanted.get("clusters"), vm.host.parent.id if vm.host else "")
        ]

    def _vm(self, request: ApiCall, web: WebRequest) -> Any:
        return request.inventory.find(vim.VirtualMachine(web.path_params["vm"]))

    async def show_vm(self, request: ApiCall, web: WebRequest) -> Any:
        """One VM."""
        vm = self._vm(request, web)
        return {
            "name": vm.name,
            "power_state": _POWER[vm.row.power.value],
            "identity": {
                "name": vm.name,
                "bios_uuid": vm.uuid,
                "instance_uuid": vm.instance_uuid,
            },
            "guest_OS": "OTHER_64",
            "cpu": {"count": vm.get("config.hardware.numCPU"), "cores_per_socket": 1},
            "memory": {"size_MiB": vm.get("config.hardware.memoryMB")},
        }

    async def show_power(self, request: ApiCall, web: WebRequest) -> Any:
        """The power of a VM."""
        return {"state": _POWER[self._vm(request, web).row.power.value]}

    async def set_power(self, request: ApiCall, web: WebRequest) -> Any:
        """Start, stop or reset a VM."""
        vm = self._vm(request, web)
        verb = web.path_params.get("verb") or web.query_params.get("action")
        commands: dict[str, list[Any]] = {
            "start": [c.VmOn((vm.name,))],
            "stop": [c.VmOff((vm.name,))],
            "reset": [c.VmOff((vm.name,)), c.VmOn((vm.name,))],
        }
        if verb not in commands:
            raise RestError("unsupported", f"a lab cannot {verb} a VM", 400)
        running = vm.row.power.value == "poweredOn"
        if (verb == "start") is running and verb != "reset":
            state = "on" if running else "off"
            raise RestError("already_in_desired_state", f"the VM is powered {state} already", 400)
        for command in commands[verb]:
            row = (await request.do(command)).items[0]
            if row.error_id:
                raise KeysteadError(row.error_id, row.error or "", fault=row.fault, keys=row.keys)
        return Response(status_code=200 if web.url.path.startswith("/rest") else 204)

    async def list_hosts(self, request: ApiCall, web: WebRequest) -> Any:
        """Hosts."""
        wanted = _filters(web)
        states = {
            "connected": "CONNECTED",
            "notResponding": "NOT_RESPONDING",
            "disconnected": "DISCONNECTED",
        }
        return [
            {
                "host": host.id,
                "name": host.name,
                "connection_state": states[host.row.connection.value],
                **({"power_state": "POWERED_ON"} if host.connected else {}),
            }
            for host in request.inventory.hosts.values()
            if _fits(wanted.get("names"), host.name) and _fits(wanted.get("hosts"), host.id)
        ]

    async def list_clusters(self, request: ApiCall, web: WebRequest) -> Any:
        """Clusters."""
        return [
            {
                "cluster": one.id,
                "name": one.name,
                "ha_enabled": one.row.ha,
                "drs_enabled": one.row.drs not in ("", "off"),
            }
            for one in request.inventory.clusters.values()
            if _fits(_filters(web).get("names"), one.name)
        ]

    async def list_datacenters(self, request: ApiCall, web: WebRequest) -> Any:
        """The data center."""
        one = request.inventory.datacenter
        return [{"datacenter": one.id, "name": one.name}]

    # ---- native key providers

    def _native(self, request: ApiCall) -> dict[str, answers.Provider]:
        if not request.may(Privilege.READ_KEY_SERVERS):
            raise no_permission(request.server.root, Privilege.READ_KEY_SERVERS)
        rows = request.inventory.snapshot.providers
        return {
            str(r.provider): r for r in rows if r.management_type is ManagementType.NATIVE_PROVIDER
        }

    def _provider(self, request: ApiCall, name: str) -> answers.Provider:
        found = self._native(request).get(name)
        if found is None:
            known = {str(r.provider) for r in request.inventory.snapshot.providers}
            if name in known:
                raise RestError("unsupported", f"{name} is no native key provider", 400)
            raise RestError("not_found", f"there is no key provider {name}", 404)
        return found

    async def list_providers(self, request: ApiCall, web: WebRequest) -> Any:
        """Native key providers, by name or health."""
        wanted = _filters(web)
        return [
            {"provider": name, "type": "NATIVE", "health": row.health.value}
            for name, row in self._native(request).items()
            if _fits(wanted.get("providers"), name)
            and _fits(wanted.get("health"), row.health.value)
        ]

    async def show_provider(self, request: ApiCall, web: WebRequest) -> Any:
        """One native key provider."""
        row = self._provider(request, web.path_params["provider"])
        return {
            "health": row.health.value,
            "details": [
                {"id": "com.keystead.detail", "default_message": text, "args": []}
                for text in row.details
            ],
            "type": "NATIVE",
            "constraints": {"tpm_required": row.tpm_required},
            "native_info": {"key_id": row.key_id},
        }

    async def post_provider(self, request: ApiCall, web: WebRequest) -> Any:
        """Make a native key provider, or export or import one."""
        spec = await _json(web)
        match web.query_params.get("action"):
            case "export":
                return await self._export(request, web, spec)
            case "import":
                return await self._import(request, spec)
            case None:
                pass
            case other:
                raise RestError("invalid_argument", f"there is no action {other}", 400)
        native = _part(spec, "native_spec")
        if native.get("key_derivation_key"):
            raise RestError("unsupported", "a lab makes the key derivation key itself", 400)
        command = c.ProviderCreate(
            _text(spec, "provider"),
            _text(native, "key_id", ""),
            tpm_required=bool(_part(spec, "constraints").get("tpm_required")),
        )
        await request.do(command)
        return Response(status_code=204)

    async def update_provider(self, request: ApiCall, web: WebRequest) -> Any:
        """Give the key derivation key another id."""
        row = self._provider(request, web.path_params["provider"])
        spec = await _json(web)
        key_id = _text(_part(spec, "native_spec"), "key_id", "")
        await request.do(c.ProviderUpdate(str(row.provider), key_id))
        return Response(status_code=204)

    async def delete_provider(self, request: ApiCall, web: WebRequest) -> Any:
        """Delete a native key provider; its use does not keep it."""
        row = self._provider(request, web.path_params["provider"])
        await request.do(c.ProviderDelete(str(row.provider)))
        return Response(status_code=204)

    async def _export(self, request: ApiCall, web: WebRequest, spec: Any) -> Any:
        name = _text(spec, "provider")
        self._provider(request, name)
        now = time.time()
        self._downloads = {t: d for t, d in self._downloads.items() if d[3] > now}
        if len(self._downloads) >= 100:
            raise RestError("error", "too many exports wait for their download", 500)
        token = secrets.token_urlsafe(32)
        user = request.session.user
        self._downloads[token] = (name, _text(spec, "password", ""), user, now + _TOKEN_S)
        base = f"{web.url.scheme}://{web.url.netloc}"
        return {
            "type": "LOCATION",
            "location": {
                "url": f"{base}/cryptomanager/kms/{name}",
                "download_token": {"token": token, "expiry": _time(now + _TOKEN_S)},
            },
        }

    async def download(self, web: WebRequest) -> Response:
        """The backup file, once for each token: a completed download makes a provider backed up."""
        token = web.headers.get("authorization", "").removeprefix("Bearer ")
        found = self._downloads.pop(token, None)
        if found is None or found[3] < time.time() or found[0] != web.path_params["provider"]:
            return _problem(
                RestError("unauthenticated", "the token is unknown or spent", 401), False
            )
        name, password, user, _ = found
        try:
            with tempfile.TemporaryDirectory(prefix="keystead-vsphere-") as folder:
                file, secret = Path(folder, "backup.p12"), ""
                if password:
                    secret = str(write_secret(Path(folder, "password"), password))
                await self.server.watch.do(c.ProviderExport(name, str(file), secret), user)
                data = file.read_bytes()
        except KeysteadError as error:
            return _problem(_refusal_of(await self.server.refusal(error)), False)
        return Response(
            data,
            media_type="application/octet-stream",
            headers={"content-disposition": f'attachment; filename="{name}.p12"'},
        )

    async def _import(self, request: ApiCall, spec: Any) -> Any:
        try:
            data = base64.b64decode(_text(spec, "config"), validate=True)
        except (ValueError, binascii.Error):
            raise RestError("invalid_argument", "config is no base64", 400) from None
        with tempfile.TemporaryDirectory(prefix="keystead-vsphere-") as folder:
            file, secret = Path(folder, "backup.p12"), ""
            write_secret(file, data)
            if password := _text(spec, "password", ""):
                secret = str(write_secret(Path(folder, "password"), password))
            dry = bool(spec.get("dry_run"))
            done = await request.do(c.ProviderImport(str(file), secret, dry_run=dry))
        return {
            "provider": done.provider,
            "type": "NATIVE",
            "native_info": {"key_id": done.key_id},
            "export_time": _time(done.exported_at),
            "constraints": {"tpm_required": done.tpm_required},
        }


_POWER = {"poweredOn": "POWERED_ON", "poweredOff": "POWERED_OFF", "suspended": "SUSPENDED"}


def _filters(web: WebRequest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in web.query_params.multi_items():
        found.setdefault(key.removeprefix("filter."), []).extend(value.split(","))
    return {k.partition(".")[0]: v for k, v in found.items()}


def _fits(wanted: list[str] | None, value: str) -> bool:
    return not wanted or value in wanted


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


async def _json(web: WebRequest) -> dict[str, Any]:
    try:
        found = json.loads(await read_body(web))
    except (ValueError, RecursionError):
        raise RestError("invalid_argument", "the body is no JSON", 400) from None
    if not isinstance(found, dict):
        raise RestError("invalid_argument", "the body is no JSON object", 400)
    return found.get("spec", found) if isinstance(found.get("spec", found), dict) else found


def _part(spec: dict[str, Any], name: str) -> dict[str, Any]:
    found = spec.get(name) or {}
    if not isinstance(found, dict):
        raise RestError("invalid_argument", f"{name} is no object", 400)
    return found


def _text(spec: dict[str, Any], name: str, default: str | None = None) -> str:
    found = spec.get(name, default)
    if found is None:
        found = default
    if not isinstance(found, str) or not found.isprintable():
        raise RestError("invalid_argument", f"{name} is needed, as a printable text", 400)
    return found


def routes(server: ApiServer) -> list[Route]:
    """All routes of vAPI."""
    it = RestOperations(server)
    found = []
    for path in ("/rest/com/vmware/cis/session", "/api/session"):
        found += [
            Route(path, it.open_session, methods=["POST"]),
            Route(path, it.wrap(it.show_session), methods=["GET"]),
            Route(path, it.wrap(it.end_session), methods=["DELETE"]),
        ]
    for base in ("/rest/vcenter", "/api/vcenter"):
        found += [
            Route(f"{base}/vm", it.wrap(it.list_vms)),
            Route(f"{base}/vm/{{vm}}", it.wrap(it.show_vm)),
            Route(f"{base}/vm/{{vm}}/power", it.wrap(it.show_power)),
            Route(f"{base}/vm/{{vm}}/power", it.wrap(it.set_power), methods=["POST"]),
            Route(f"{base}/vm/{{vm}}/power/{{verb}}", it.wrap(it.set_power), methods=["POST"]),
            Route(f"{base}/host", it.wrap(it.list_hosts)),
            Route(f"{base}/cluster", it.wrap(it.list_clusters)),
            Route(f"{base}/datacenter", it.wrap(it.list_datacenters)),
        ]
    one = f"{_PROVIDERS}/{{provider}}"
    return [
        *found,
        Route(_PROVIDERS, it.wrap(it.list_providers), methods=["GET"]),
        Route(_PROVIDERS, it.wrap(it.post_provider), methods=["POST"]),
        Route(one, it.wrap(it.show_provider), methods=["GET"]),
        Route(one, it.wrap(it.update_provider), methods=["PATCH"]),
        Route(one, it.wrap(it.delete_provider), methods=["DELETE"]),
        Route("/cryptomanager/kms/{provider}", it.download, methods=["GET", "POST"]),
    ]
