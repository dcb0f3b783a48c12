"""vAPI: what can be read of a Trust Authority, of trusted clusters, and of the TPMs of hosts."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.vsphere.vapi.operations import (
    BINARY,
    Listed,
    Mapped,
    Optional,
    VapiCall,
    VapiError,
    VapiOperation,
    VapiStructure,
    details,
)
from protocol.authorization import Privilege
from protocol.trust import TrustItem

TPM = "tpm0"
"""The one TPM that a host may have."""


# ---- a Trust Authority


async def _authority(call: VapiCall) -> answers.TrustAuthority:
    await call.call.require(Privilege.READ_TRUSTED_HOSTS)
    found: answers.TrustAuthority = await call.call.ask(c.GetTrustAuthority())
    return found


def _cluster_id(call: VapiCall, name: str) -> str:
    one = call.inventory.clusters.get(name)
    return one.id if one is not None else name


async def list_authorities(call: VapiCall) -> Any:
    """The clusters of this vCenter, and whether each is a Trust Authority."""
    wanted = call.filter("spec")
    try:
        found = await _authority(call)
        enabled = str(found.cluster) if found.group else ""
    except KeysteadError as error:
        if error.id != "KS-USE-002":
            raise
        enabled = ""  # the lab has none
    names = dict.fromkeys([enabled] if enabled else []) | dict.fromkeys(call.inventory.clusters)
    rows = [
        {"cluster": _cluster_id(call, name), "state": "ENABLE" if name == enabled else "DISABLE"}
        for name in names
    ]
    return [
        one
        for one in rows
        if wanted.fits("cluster", one["cluster"]) and wanted.fits("state", one["state"])
    ]


async def show_authority(call: VapiCall) -> Any:
    """One cluster."""
    wanted = call.id("cluster")
    for one in await list_authorities(call):
        if one["cluster"] == wanted:
            return one
    raise VapiError("not_found", f"there is no cluster {wanted}", 404)


async def _of_cluster(call: VapiCall) -> answers.TrustAuthority:
    found, wanted = await _authority(call), call.id("cluster")
    if _cluster_id(call, str(found.cluster)) != wanted:
        raise VapiError("not_found", f"{wanted} is no Trust Authority", 404)
    return found


def _list_items(kind: TrustItem, name: str) -> Any:
    async def work(call: VapiCall) -> Any:
        found = await _of_cluster(call)
        return [
            {name: item.name, "health": item.health.value, "details": details(item.details)}
            for item in found.items
            if item.kind == kind.value
        ]

    return work


async def show_settings(call: VapiCall) -> Any:
    """What an endorsement key has to be."""
    found = await _of_cluster(call)
    return {
        "require_endorsement_keys": found.require_endorsement_keys,
        "require_certificate_validation": found.require_certificate_validation,
        "health": "WARNING" if found.silent else "OK",
        "details": details(found.warnings),
    }


async def show_service_status(call: VapiCall) -> Any:
    """Whether all services have what is configured."""
    found = await _of_cluster(call)
    silent = [f"no answer from {node}" for node in found.silent]
    return {"health": "WARNING" if silent else "OK", "details": details(silent)}


# ---- trusted clusters


async def show_applied(call: VapiCall) -> Any:
    """The configuration of a trusted cluster's hosts: desired against applied."""
    await call.call.require(Privilege.READ_TRUSTED_HOSTS)
    cluster = call.inventory.find(vim.ClusterComputeResource(call.id("cluster")))
    rows = (await call.call.ask(c.GetTrustedHosts())).items
    hosts = [row for row in rows if row.cluster == cluster.name]
    if not hosts:
        raise VapiError("not_found", f"{cluster.name} is no trusted cluster", 404)
    worst = max((h.health.value for h in hosts), key=["NONE", "OK", "WARNING", "ERROR"].index)
    flaws = [f"{h.host}: {text}" for h in hosts for text in h.details]
    return {"health": worst, "details": details(flaws)}


# ---- TPMs


async def _tpm(call: VapiCall) -> answers.Tpm | None:
    await call.call.require(Privilege.TPM_READ)
    host = call.inventory.find(vim.HostSystem(call.id("host")))
    if not host.connected:
        raise VapiError("error", f"{host.name} does not answer vCenter", 500)
    if not host.row.tpm_present:
        return None
    found: answers.Tpm = await call.call.ask(c.TpmInspect(host.name))
    return found


def _version(found: answers.Tpm) -> dict[str, Any]:
    return {"major_version": 2, "minor_version": 0, "active": found.state.value == "on"}


async def list_tpms(call: VapiCall) -> Any:
    """The TPM of a host."""
    found = await _tpm(call)
    return [{"tpm": TPM, **_version(found)}] if found is not None else []


async def show_tpm(call: VapiCall) -> Any:
    """A TPM with the PCRs of its SHA-256 bank."""
    found = await _tpm(call)
    if found is None or call.id("tpm") != TPM:
        raise VapiError("not_found", "there is no such TPM", 404)
    banks = [{"algorithm": "SHA256", "pcrs": dict(found.pcrs)}] if found.pcrs else []
    return {**_version(found), "banks": banks}


async def show_tpm_typed(call: VapiCall) -> Any:
    """The same for JSON-RPC, where a PCR is bytes by its number."""
    found = await show_tpm(call)
    for bank in found["banks"]:
        bank["pcrs"] = {int(number): bytes.fromhex(d) for number, d in bank["pcrs"].items()}
    return found


_BASE = "com.vmware.vcenter.trusted_infrastructure"
_CLUSTERS = f"{_BASE}.trust_authority_clusters"
_PATH = "/vcenter/trusted-infrastructure"
_ALL, _ONE = f"{_PATH}/trust-authority-clusters", f"{_PATH}/trust-authority-clusters/{{cluster}}"
_TPMS, _TPM_PATH = f"{_BASE}.hosts.hardware.tpm", f"{_PATH}/hosts/{{host}}/hardware/tpm"
_STATE = {"cluster": None, "state": None}
_ABOUT = {"major_version": None, "minor_version": None, "active": None}
_BANK = VapiStructure(f"{_TPMS}.pcr_bank", {"algorithm": None, "pcrs": Mapped(BINARY)})


def _read(below: str, work: Any) -> VapiOperation:
    """A list or a state below a Trust Authority: by JSON-RPC it is a task only."""
    return VapiOperation("", "get", work, "GET", f"{_ONE}/{below}")


OPERATIONS = (
    VapiOperation(
        _CLUSTERS, "list", list_authorities, "GET", _ALL, selects="spec",
        result=Listed(VapiStructure(f"{_CLUSTERS}.summary", _STATE)),
    ),
    VapiOperation(
        _CLUSTERS, "get", show_authority, "GET", _ONE,
        result=VapiStructure(f"{_CLUSTERS}.info", _STATE),
    ),
    _read(
        "attestation/tpm2/ca-certificates", _list_items(TrustItem.CA_CERTIFICATE, "name")
    ),
    _read(
        "attestation/tpm2/endorsement-keys", _list_items(TrustItem.ENDORSEMENT_KEY, "name")
    ),
    _read("attestation/tpm2/settings", show_settings),
    _read("attestation/os/esx/base-images", _list_items(TrustItem.BASE_IMAGE, "version")),
    _read("attestation/service-status", show_service_status),
    _read("kms/service-status", show_service_status),
    _read("kms/providers", _list_items(TrustItem.PROVIDER, "provider")),
    VapiOperation(
        "", "get", show_applied, "GET",
        f"{_PATH}/trusted-clusters/{{cluster}}/services-applied-config",
    ),
    VapiOperation(
        _TPMS, "list", list_tpms, "GET", _TPM_PATH,
        result=Listed(VapiStructure(f"{_TPMS}.summary", {"tpm": None, **_ABOUT})),
    ),
    VapiOperation("", "get", show_tpm, "GET", f"{_TPM_PATH}/{{tpm}}"),
    VapiOperation(
        _TPMS, "get", show_tpm_typed, "", "",
        result=VapiStructure(
            f"{_TPMS}.info",
            {**_ABOUT, "manufacturer": Optional(), "model": Optional(),
             "firmware_version": Optional(), "banks": Listed(_BANK)},
        ),
    ),
)  # fmt: skip
