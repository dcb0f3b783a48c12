"""Which nodes of a lab have a TPM, and what plays it.

The Lab file alone says which hosts and key servers have one (``tpm``, ``without_tpm``). An option
or the mode then chooses what plays those that are there; neither gives a TPM to a node without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from lab.schema.errors import KeysteadError
from lab.topology.model import HostsModel, KmsModel, LabFields
from protocol.messages.agent import TpmBackend
from protocol.printable import quote_if_needed

_File = TypeVar("_File", bound=LabFields)
_Node = TypeVar("_Node", HostsModel, KmsModel)
_LEFT_OUT: Final = {kind: kind.model_fields["tpm"].default for kind in (HostsModel, KmsModel)}


def backend_at(hosts: HostsModel, place: int) -> TpmBackend:
    """The TPM of the host at that place of its cluster, from 0 on; the last ``without_tpm`` of
    ``count`` have none. Hosts that are added later have the cluster's."""
    without = hosts.count - hosts.without_tpm <= place < hosts.count
    return TpmBackend.NONE if without else hosts.tpm


def with_option(data: Mapping[str, Any], asked: object) -> dict[str, Any]:
    """The sections of a Lab file's ``data`` that an option ``tpm`` changes.

    ``libtpms`` and ``model`` play the TPMs that the file has, of hosts and of key servers; ``none``
    takes those of hosts away. KS-USE-003 for any other value, and when no host has a TPM to play.
    """
    if asked not in list(TpmBackend):
        raise KeysteadError(
            "KS-USE-003", f"tpm: libtpms, model or none, not {quote_if_needed(str(asked))}"
        )
    clusters = [dict(cluster) for cluster in data.get("clusters", ())]
    hosts = [dict(cluster.get("hosts", {})) for cluster in clusters]
    if asked != TpmBackend.NONE and hosts and not any(_has_tpm(HostsModel, one) for one in hosts):
        text = f"tpm {asked}: no host of this lab has a TPM that it could play"
        fix = "leave the option out, or write `tpm: libtpms` for hosts in the Lab file"
        raise KeysteadError("KS-USE-003", text, fix)
    for cluster, one in zip(clusters, hosts, strict=True):
        if _has_tpm(HostsModel, one):
            cluster["hosts"] = {**one, "tpm": asked}
    if asked == TpmBackend.NONE:
        return {"clusters": clusters}
    servers = [
        {**server, "tpm": asked} if _has_tpm(KmsModel, server) else server
        for server in data.get("kms", ())
    ]
    return {"clusters": clusters, "kms": servers}


def as_played(file: _File, mode: str) -> _File:
    """The Lab file as ``mode`` plays it: in the simulation the model stands for libtpms."""
    if mode != "sim":
        return file
    clusters = tuple(
        cluster.model_copy(update={"hosts": _use_model(cluster.hosts)}) for cluster in file.clusters
    )
    servers = tuple(_use_model(server) for server in file.kms)
    return file.model_copy(update={"clusters": clusters, "kms": servers})


def _use_model(node: _Node) -> _Node:
    real = node.tpm is TpmBackend.LIBTPMS
    return node.model_copy(update={"tpm": TpmBackend.MODEL}) if real else node


def _has_tpm(kind: type[HostsModel | KmsModel], data: Mapping[str, Any]) -> bool:
    return bool(data.get("tpm", _LEFT_OUT[kind]) != TpmBackend.NONE)
