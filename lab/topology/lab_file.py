"""The Lab file (``kind: Lab``): what people write.

``LabFile`` is the pydantic model of the file; ``load`` reads a shipped file by name or one by path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from chaos.text_file import text_of
from chaos.yaml_file import TextPlace, YamlFile, read_yaml
from lab.schema.errors import KeysteadError
from lab.topology.model import GROUPS_LIMIT, LabFields
from lab.topology.references import PAIR, SERVERS_LIMIT, Misfit, misfits
from lab.topology.service_times import with_profile
from lab.topology.tpms import with_option
from lab.topology.wrong_fields import find_misfits
from services import knobs

SHIPPED = Path(__file__).parent / "shipped"


def _refuse(wrong: Iterable[Misfit]) -> None:
    details = [
        InitErrorDetails(
            type=PydanticCustomError("misfit", "{text}", {"text": found.text}),
            loc=found.path,
            input=None,
        )
        for found in wrong
    ]
    if details:
        raise ValidationError.from_exception_data("LabFile", details)


class LabFile(LabFields):
    """The file as a whole; every error is reported with its line."""

    @field_validator("knobs")
    @classmethod
    def _has_known_knobs(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Each wrong knob is an error of its own, at its own place in the file."""
        _refuse(Misfit((name,), text) for name, text in knobs.faults(values).items())
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> LabFile:
        """Names that point to nothing, or are used twice: each at its own place."""
        _refuse(misfits(self))
        return self


def load(source: str | Path | Mapping[str, Any], **changes: Any) -> LabFile:
    """Read a Lab file: shipped name, path, or a mapping; then apply ``changes`` (``override``).

    Raises KS-TOPO-001, which names file, line and column of all that is wrong.
    """
    if isinstance(source, Mapping):
        _validate(source, "lab", YamlFile())
        return _validate(with_profile(override(dict(source), changes)), "lab", YamlFile())
    path = SHIPPED / f"{source}.yaml" if is_shipped(source) else Path(source)
    if not _is_there(path):
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise KeysteadError("KS-TOPO-001", f"no lab file {source}; shipped ones: {names}")
    where = str(path if path.parent != SHIPPED else path.name)
    file = _read(path, where)
    _validate(file.data, where, file)  # the file alone: changes expect its shape
    return _validate(with_profile(override(dict(file.data), changes)), where, file)


def is_shipped(source: str | Path) -> bool:
    """Whether ``source`` is the name of a Lab file that comes with keystead."""
    return _is_there(SHIPPED / f"{source}.yaml")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def _read(path: Path, where: str) -> YamlFile:
    try:
        text = text_of(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise KeysteadError("KS-TOPO-001", f"{where}: cannot be read: {why}") from None
    file = read_yaml(text)
    if file.problems:
        lines = [f"{_at(where, problem.place)}: {problem.text}" for problem in file.problems]
        raise KeysteadError("KS-TOPO-001", "\n".join(lines))
    if not isinstance(file.data, dict):
        raise KeysteadError("KS-TOPO-001", f"{where}: a lab file is a mapping")
    return file


def _validate(data: Mapping[str, Any], where: str, file: YamlFile) -> LabFile:
    try:
        return LabFile.model_validate(data)
    except ValidationError:
        raise KeysteadError("KS-TOPO-001", "\n".join(_lines(data, where, file))) from None


def _lines(data: Mapping[str, Any], where: str, file: YamlFile) -> list[str]:
    """A line for all that is wrong, in the order of the file."""
    found = [
        (file.place(wrong.path) if file.places else TextPlace(0, 0), str(wrong))
        for wrong in faults_of(data)
    ]
    return [
        f"{_at(where, place)}: {text}" if file.places else f"{where}: {text}"
        for place, text in sorted(found, key=lambda one: one[0])
    ]


def faults_of(data: Mapping[str, Any]) -> list[Misfit]:
    """All that is wrong with the content of a Lab file, each with its place in it."""
    return find_misfits(data, LabFile.model_validate)


def _at(where: str, place: TextPlace) -> str:
    return f"{where}:{place.line}:{place.column}"


def override(data: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``hosts``, ``vms``, ``pack``, ``tpm``, ``without_tpm``, ``kms``, ``providers``, ``key_type``,
    ``clusters``, ``key_persistence``, ``pace``, ``name``, ``ha``, ``drs``, ``knobs``, ``bus``,
    ``service_times`` and ``serve`` over what the file says. Those about hosts and clusters change
    every cluster, but for ``tpm``, which gives no TPM to hosts without one."""
    made = dict(data)
    wanted = {k: v for k, v in changes.items() if v is not None}
    if wanted.get("serve") is True and made.get("serve"):
        del wanted["serve"]  # it says where
    for name in ("name", "pace", "bus", "service_times", "serve"):
        if name in wanted:
            made[name] = wanted.pop(name)
    if "knobs" in wanted:
        knobs_wanted = wanted.pop("knobs")
        if not isinstance(knobs_wanted, Mapping):
            raise KeysteadError("KS-USE-003", "knobs: a mapping of names to values")
        made["knobs"] = {**made.get("knobs", {}), **knobs_wanted}
    if "kms" in wanted:
        made.update(_with_key_servers(made, wanted.pop("kms")))
    if "providers" in wanted:
        made.update(_with_providers(made, wanted.pop("providers")))
    if "key_type" in wanted:
        made.update(_with_key_type(made, wanted.pop("key_type")))
    if "tpm" in wanted:
        made.update(with_option(made, wanted.pop("tpm")))
    if "clusters" in wanted:
        made["clusters"] = _with_clusters(made, wanted.pop("clusters"))
    hosts = {
        field: wanted.pop(name)
        for name, field in (
            ("hosts", "count"),
            ("pack", "pack"),
            ("without_tpm", "without_tpm"),
            ("key_persistence", "key_persistence"),
        )
        if name in wanted
    }
    vms = {"count": wanted.pop("vms")} if "vms" in wanted else {}
    on_hosts = {name: wanted.pop(name) for name in ("ha", "drs") if name in wanted}
    if wanted:
        raise KeysteadError("KS-TOPO-001", f"a lab file has no {', '.join(sorted(wanted))}")
    made["clusters"] = [
        {
            **c,
            **on_hosts,
            "hosts": {**c.get("hosts", {}), **hosts},
            "vms": {**c.get("vms", {}), **vms},
        }
        for c in made.get("clusters", [])
    ]
    return made


def _with_key_servers(data: Mapping[str, Any], wanted: object) -> dict[str, Any]:
    """One provider with so many key servers: one, or a pair whose servers replicate; or what a
    mapping says: ``{replicas: 3, mode: async, ids: sequential, transport: kmip}``.

    The first provider of the file keeps its name, so what refers to it goes on.
    """
    said = dict(wanted) if isinstance(wanted, Mapping) else {"replicas": wanted}
    mode = said.pop("mode", None)
    each = {name: said.pop(name) for name in ("ids", "transport", "audit") if name in said}
    provider = dict((data.get("providers") or [{"name": "kms-provider"}])[0])
    left_out = PAIR if mode is not None else len(provider.get("servers") or "1")
    count = said.pop("replicas", left_out)
    most = PAIR if mode in (None, "sync-pair") else SERVERS_LIMIT
    if said or type(count) is not int or not 1 <= count <= most:
        text = (
            "kms: 1, or 2 for a pair whose servers replicate, or {replicas: 3, mode: async}, where "
            f"modes none, async and forward have up to {SERVERS_LIMIT}; more providers with a key "
            "server each: providers"
        )
        raise KeysteadError("KS-USE-003", text)
    first = dict((data.get("kms") or [{}])[0]) | each
    names = ["kms"] if count == 1 else [f"kms-{n}" for n in range(1, count + 1)]
    provider.pop("replication", None)
    replication = {} if mode is None else {"replication": mode}
    return {
        "kms": [{**first, "name": name} for name in names],
        "providers": [{**provider, "servers": names, **replication}],
    }


def _with_providers(data: Mapping[str, Any], wanted: object) -> dict[str, Any]:
    """Standard providers until there are ``wanted``, each with a key server of its own.

    Those that are there stay as they are, and so does the default. The servers are like the first
    one; names go on where those of the file end: ``kms-provider-2`` on ``kms-2``.
    """
    servers, providers = list(data.get("kms") or []), list(data.get("providers") or [])
    there = len(providers)
    if type(wanted) is not int or not there <= wanted <= GROUPS_LIMIT or not there:
        text = (
            f"providers: {there} to {GROUPS_LIMIT} of this lab, which has {there} already"
            if there
            else "providers: this lab has none that others could be like"
        )
        raise KeysteadError("KS-USE-003", text)
    nodes = {server["name"] for server in servers}
    nodes |= {vcenter["name"] for vcenter in data.get("vcenters", [])}
    named = {provider["name"] for provider in providers}
    for _ in range(wanted - there):
        server = _free("kms", len(servers) + 1, nodes)
        provider = _free(str(providers[0]["name"]), len(providers) + 1, named)
        servers.append({**servers[0], "name": server})
        providers.append({**providers[0], "name": provider, "servers": [server], "default": False})
    return {"kms": servers, "providers": providers}


def _with_key_type(data: Mapping[str, Any], wanted: object) -> dict[str, Any]:
    """Every standard provider makes keys of that type by default, and vCenters are of 9.0, the
    first release that can (KEY-06)."""
    providers = [
        {**one, "default_key_type": wanted} if one.get("type", "standard") == "standard" else one
        for one in data.get("providers") or ()
    ]
    if providers == list(data.get("providers") or ()):
        raise KeysteadError("KS-USE-003", "key_type: this lab has no standard key provider")
    return {
        "providers": providers,
        "vcenters": [{**one, "version": "9.0"} for one in data.get("vcenters") or ()],
    }


def _with_clusters(data: Mapping[str, Any], wanted: object) -> list[Any]:
    """The clusters, and others like the first one until there are ``wanted``: ``cluster-a-2``."""
    clusters = list(data.get("clusters") or [])
    there = len(clusters)
    if type(wanted) is not int or not there <= wanted <= GROUPS_LIMIT or not there:
        text = f"clusters: {there} to {GROUPS_LIMIT} of this lab, which has {there} already"
        raise KeysteadError("KS-USE-003", text)
    named = {cluster["name"] for cluster in clusters}
    for _ in range(wanted - there):
        name = _free(str(clusters[0]["name"]), len(clusters) + 1, named)
        clusters.append({**clusters[0], "name": name})
    return clusters


def _free(head: str, number: int, taken: set[str]) -> str:
    """``head-number``, or the first number above it that is not taken; it is from now on."""
    name = next(f"{head}-{n}" for n in count(number) if f"{head}-{n}" not in taken)
    taken.add(name)
    return name
