"""vAPI: native key providers with export and import, and the providers that a host has."""

from __future__ import annotations

import base64
import binascii
import secrets
import tempfile
import time
from pathlib import Path
from typing import Any

from pyVmomi import vim

from lab.schema import answers
from lab.schema import commands as c
from lab.vsphere.faults import no_permission
from lab.vsphere.files import write_secret
from lab.vsphere.vapi.operations import (
    MESSAGE,
    SECRET,
    Listed,
    Optional,
    VapiCall,
    VapiError,
    VapiOperation,
    VapiStructure,
    details,
    part_of,
    text_of,
    time_text,
)
from protocol.authorization import Privilege
from protocol.terms import ManagementType

_TOKEN_S = 60.0
_DOWNLOAD_LIMIT = 100
_TYPES = {
    ManagementType.NATIVE_PROVIDER: "NATIVE",
    ManagementType.TRUST_AUTHORITY: "TRUST_AUTHORITY",
}


def _native(call: VapiCall) -> dict[str, answers.Provider]:
    if not call.call.may(Privilege.READ_KEY_SERVERS):
        raise no_permission(call.call.server.root, Privilege.READ_KEY_SERVERS)
    rows = call.inventory.snapshot.providers
    return {str(r.provider): r for r in rows if r.management_type is ManagementType.NATIVE_PROVIDER}


def _provider(call: VapiCall, name: str) -> answers.Provider:
    found = _native(call).get(name)
    if found is None:
        if name in {str(r.provider) for r in call.inventory.snapshot.providers}:
            raise VapiError("unsupported", f"{name} is no native key provider")
        raise VapiError("not_found", f"there is no key provider {name}", 404)
    return found


# ---- of vCenter


async def list_providers(call: VapiCall) -> Any:
    """Native key providers, by name or health."""
    wanted = call.filter("filter_spec")
    return [
        {"provider": name, "type": "NATIVE", "health": row.health.value}
        for name, row in _native(call).items()
        if wanted.fits("providers", name) and wanted.fits("health", row.health.value)
    ]


async def show_provider(call: VapiCall) -> Any:
    """One native key provider."""
    row = _provider(call, call.id("provider"))
    return {
        "health": row.health.value,
        "details": details(row.details),
        "type": "NATIVE",
        "constraints": {"tpm_required": row.tpm_required},
        "native_info": {"key_id": row.key_id},
    }


async def create_provider(call: VapiCall) -> None:
    """Make a native key provider."""
    native = part_of(call.spec, "native_spec")
    if native.get("key_derivation_key"):
        raise VapiError("unsupported", "a lab makes the key derivation key itself")
    command = c.ProviderCreate(
        text_of(call.spec, "provider"),
        text_of(native, "key_id", ""),
        tpm_required=bool(part_of(call.spec, "constraints").get("tpm_required")),
    )
    await call.call.do(command)


async def update_provider(call: VapiCall) -> None:
    """Give the key derivation key another id."""
    row = _provider(call, call.id("provider"))
    key_id = text_of(part_of(call.spec, "native_spec"), "key_id", "")
    await call.call.do(c.ProviderUpdate(str(row.provider), key_id))


async def delete_provider(call: VapiCall) -> None:
    """Delete a native key provider; its use does not keep it."""
    row = _provider(call, call.id("provider"))
    await call.call.do(c.ProviderDelete(str(row.provider)))


class Downloads:
    """Exports that wait for their download: by token, once each, for a minute."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, str, str, float]] = {}

    def add(self, provider: str, password: str, user: str) -> tuple[str, float]:
        """A token, and when it expires (Unix seconds)."""
        now = time.time()
        self._waiting = {t: d for t, d in self._waiting.items() if d[3] > now}
        if len(self._waiting) >= _DOWNLOAD_LIMIT:
            raise VapiError("error", "too many exports wait for their download", 500)
        token = secrets.token_urlsafe(32)
        self._waiting[token] = (provider, password, user, now + _TOKEN_S)
        return token, now + _TOKEN_S

    async def take(self, server: Any, token: str, provider: str) -> bytes:
        """The backup file; a completed download makes a provider backed up. Raises
        ``VapiError`` for a token that is unknown, spent, late, or of another provider."""
        found = self._waiting.pop(token, None)
        if found is None or found[3] < time.time() or found[0] != provider:
            raise VapiError("unauthenticated", "the token is unknown or spent", 401)
        name, password, user, _ = found
        with tempfile.TemporaryDirectory(prefix="keystead-vsphere-") as folder:
            file, secret = Path(folder, "backup.p12"), ""
            if password:
                secret = str(write_secret(Path(folder, "password"), password))
            await server.watch.do(c.ProviderExport(name, str(file), secret), user)
            return file.read_bytes()


async def export_provider(call: VapiCall) -> Any:
    """Where the backup of a provider can be fetched, once."""
    name = text_of(call.spec, "provider")
    _provider(call, name)
    session = call.call.session
    token, end = call.call.server.downloads.add(
        name, text_of(call.spec, "password", ""), session.user
    )
    return {
        "type": "LOCATION",
        "location": {
            "url": f"{call.base}/cryptomanager/kms/{name}",
            "download_token": {"token": token, "expiry": time_text(end)},
        },
    }


async def import_provider(call: VapiCall) -> Any:
    """Make a provider of its backup."""
    data: Any = call.spec.get("config")
    if not isinstance(data, bytes):  # REST has it in base64
        try:
            data = base64.b64decode(text_of(call.spec, "config"), validate=True)
        except (ValueError, binascii.Error):
            raise VapiError("invalid_argument", "config is no base64") from None
    with tempfile.TemporaryDirectory(prefix="keystead-vsphere-") as folder:
        file, secret = Path(folder, "backup.p12"), ""
        write_secret(file, data)
        if password := text_of(call.spec, "password", ""):
            secret = str(write_secret(Path(folder, "password"), password))
        dry = bool(call.spec.get("dry_run"))
        done = await call.call.do(c.ProviderImport(str(file), secret, dry_run=dry))
    return {
        "provider": done.provider,
        "type": "NATIVE",
        "native_info": {"key_id": done.key_id},
        "export_time": time_text(done.exported_at),
        "constraints": {"tpm_required": done.tpm_required},
    }


# ---- of a host


async def _of_host(call: VapiCall) -> dict[str, dict[str, Any]]:
    """The providers that vCenter has for its hosts, each as this host can use it now."""
    await call.call.require(Privilege.READ_KEY_SERVERS)
    host = call.inventory.find(vim.HostSystem(call.id("host")))
    there: set[str] = set()
    if host.connected:
        view = await call.call.ask(c.GetHostView(host.name))
        there = {str(one.provider_id) for one in view.providers}
    found: dict[str, dict[str, Any]] = {}
    for row in call.inventory.snapshot.providers:
        kind = _TYPES.get(row.management_type)
        if kind is None:
            continue
        name = str(row.provider)
        health: str = "OK"
        texts: list[Any] = []
        if not host.connected:
            health, texts = "NONE", details([f"{host.name} does not answer vCenter"])
        elif name not in there:
            health, texts = "ERROR", details([f"{host.name} does not have {name}"])
        found[name] = {"provider": name, "type": kind, "health": health, "details": texts}
        if kind == "NATIVE":
            found[name]["native_info"] = {"key_id": row.key_id}
    return found


async def list_on_host(call: VapiCall) -> Any:
    """The providers of a host, by name, health or type."""
    wanted = call.filter("filter_spec")
    return [
        {key: one[key] for key in ("provider", "type", "health")}
        for one in (await _of_host(call)).values()
        if wanted.fits("providers", one["provider"])
        and wanted.fits("health", one["health"])
        and wanted.fits("types", one["type"])
    ]


async def show_on_host(call: VapiCall) -> Any:
    """One provider of a host."""
    name = call.id("provider")
    found = (await _of_host(call)).get(name)
    if found is None:
        raise VapiError("not_found", f"there is no such provider {name}", 404)
    return {key: value for key, value in found.items() if key != "provider"}


_KMS = "com.vmware.vcenter.crypto_manager.kms.providers"
_HOST = "com.vmware.vcenter.crypto_manager.hosts.kms.providers"
_ALL = "/vcenter/crypto-manager/kms/providers"
_OF_HOST = "/vcenter/crypto-manager/hosts/{host}/kms/providers"
_SUMMARY = {"provider": None, "type": None, "health": None}
_CONSTRAINTS = Optional(VapiStructure(f"{_KMS}.constraints", {"tpm_required": None}))


def _native_info(service: str) -> Optional:
    return Optional(VapiStructure(f"{service}.native_provider_info", {"key_id": None}))


_TOKEN = VapiStructure(f"{_KMS}.token", {"token": SECRET, "expiry": None})
_LOCATION = VapiStructure(f"{_KMS}.location", {"url": None, "download_token": _TOKEN})
_INFO = {"health": None, "details": Listed(MESSAGE), "type": None}
OPERATIONS = (
    VapiOperation(
        _KMS, "list", list_providers, "GET", _ALL, selects="filter_spec",
        result=Listed(VapiStructure(f"{_KMS}.summary", _SUMMARY)),
    ),
    VapiOperation(
        _KMS, "get", show_provider, "GET", f"{_ALL}/{{provider}}",
        result=VapiStructure(
            f"{_KMS}.info",
            {**_INFO, "constraints": _CONSTRAINTS, "native_info": _native_info(_KMS)},
        ),
    ),
    VapiOperation(_KMS, "create", create_provider, "POST", _ALL),
    VapiOperation(_KMS, "update", update_provider, "PATCH", f"{_ALL}/{{provider}}"),
    VapiOperation(_KMS, "delete", delete_provider, "DELETE", f"{_ALL}/{{provider}}"),
    VapiOperation(
        _KMS, "export", export_provider, "POST", f"{_ALL}?action=export",
        result=VapiStructure(
            f"{_KMS}.export_result", {"type": None, "location": Optional(_LOCATION)}
        ),
    ),
    VapiOperation(
        _KMS, "import_provider", import_provider, "POST", f"{_ALL}?action=import",
        result=VapiStructure(
            f"{_KMS}.import_result",
            {"provider": None, "type": None, "native_info": _native_info(_KMS),
             "export_time": None, "constraints": _CONSTRAINTS},
        ),
    ),
    VapiOperation(
        _HOST, "list", list_on_host, "GET", _OF_HOST, selects="filter_spec",
        result=Listed(VapiStructure(f"{_HOST}.summary", _SUMMARY)),
    ),
    VapiOperation(
        _HOST, "get", show_on_host, "GET", f"{_OF_HOST}/{{provider}}",
        result=VapiStructure(f"{_HOST}.info", {**_INFO, "native_info": _native_info(_HOST)}),
    ),
)  # fmt: skip
