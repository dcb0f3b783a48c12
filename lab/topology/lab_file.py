"""The Lab file (``kind: Lab``): read, checked, with all that is wrong in words that name what was
probably meant, and written with a comment on each field (``keystead lab new``). Which nodes have
a TPM, and what plays it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from chaos.fields import field_docs, models_in
from chaos.yaml_file import TextPlace, YamlFile, read_yaml, text_of
from lab.schema.errors import KeysteadError
from lab.topology.model import GROUPS_LIMIT, HostsModel, KmsModel, LabFields
from lab.topology.references import PAIR, SERVERS_LIMIT, Misfit, misfits
from lab.topology.service_times import with_profile
from protocol.messages.agent import TpmBackend
from protocol.printable import did_you_mean, quote_if_needed
from services import knobs

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


FAULTS_SHOWN: Final = 100  # of a file; nobody reads more
_QUOTED: Final = re.compile(r"'([^']*)'")
FieldPath = tuple[str | int, ...]


def find_misfits(data: Mapping[str, Any], validate: Callable[[Any], object]) -> list[Misfit]:
    """What ``validate`` refuses of ``data``, each with its place.

    Names that lead nowhere can only be found in a file whose values are right each for itself. So
    what is wrong is left out and the rest is judged again, but for what stands around or inside of
    it: that may be a consequence.
    """
    first = _list_misfits(data, validate)
    if not first:
        return []
    rest = deepcopy(dict(data))
    for found in first:
        _leave_out(rest, found.path)
    later = [
        found
        for found in _list_misfits(rest, validate)
        if not any(_is_around(found.path, known.path) for known in first)
    ]
    return [*first, *later][:FAULTS_SHOWN]


def _list_misfits(data: Mapping[str, Any], validate: Callable[[Any], object]) -> list[Misfit]:
    try:
        validate(data)
    except ValidationError as error:
        return [
            Misfit(detail["loc"], _describe(detail, data))
            for detail in error.errors(include_url=False)[:FAULTS_SHOWN]
        ]
    return []


def _describe(detail: Any, data: Mapping[str, Any]) -> str:
    """The message of pydantic, or one that names what is known."""
    path: FieldPath = detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            known = _fields_at(path[:-1])
            near = did_you_mean(str(path[-1]), known, cutoff=0.5)
            return f"there is no such field{near or '; there are ' + ', '.join(known)}"
        case "missing":
            return "it is missing"
        case "literal_error" | "enum":
            known = _QUOTED.findall(detail["ctx"]["expected"])
            value = str(detail["input"])
            return f"{quote_if_needed(value[:80])} is none of {', '.join(known)}" + (
                did_you_mean(value, known, cutoff=0.5)
            )
        case _:
            return str(detail["msg"]).removeprefix("Value error, ")


def _fields_at(path: FieldPath) -> list[str]:
    """The fields of the map at ``path`` of a Lab file."""
    models: list[type[BaseModel]] = [LabFields]
    for step in path:
        if isinstance(step, str):
            hints = [m.model_fields[step].annotation for m in models if step in m.model_fields]
            models = [inner for hint in hints for inner in models_in(hint)]
    return [info.alias or name for m in models for name, info in m.model_fields.items()]


def _leave_out(data: Any, path: FieldPath) -> None:
    """Remove the value at ``path``; places of a list stay what they are."""
    for step in path[:-1]:
        try:
            data = data[step]
        except (LookupError, TypeError):
            return
    if path and isinstance(data, dict):
        data.pop(path[-1], None)


def _is_around(path: FieldPath, other: FieldPath) -> bool:
    """Whether one of the two is inside of the other."""
    least = min(len(path), len(other))
    return path[:least] == other[:least]


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
        made.update(_with_clusters(made, wanted.pop("clusters")))
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


def _with_clusters(data: Mapping[str, Any], wanted: object) -> dict[str, Any]:
    """The clusters, and others like the first one until there are ``wanted``: ``cluster-a-2``.

    Where the first one is trusted, the others are.
    """
    clusters = list(data.get("clusters") or [])
    there = len(clusters)
    if type(wanted) is not int or not there <= wanted <= GROUPS_LIMIT or not there:
        text = f"clusters: {there} to {GROUPS_LIMIT} of this lab, which has {there} already"
        raise KeysteadError("KS-USE-003", text)
    named = {cluster["name"] for cluster in clusters}
    for _ in range(wanted - there):
        name = _free(str(clusters[0]["name"]), len(clusters) + 1, named)
        clusters.append({**clusters[0], "name": name})
    authority = dict(data.get("trust_authority") or {})
    trusted = authority.get("clusters") or []
    if clusters[0]["name"] not in trusted:
        return {"clusters": clusters}
    added = [cluster["name"] for cluster in clusters[there:]]
    return {"clusters": clusters, "trust_authority": {**authority, "clusters": [*trusted, *added]}}


def _free(head: str, number: int, taken: set[str]) -> str:
    """``head-number``, or the first number above it that is not taken; it is from now on."""
    name = next(f"{head}-{n}" for n in count(number) if f"{head}-{n}" not in taken)
    taken.add(name)
    return name


SCHEMA_FILE: Final = "lab.schema.json"
_WIDTH: Final = 100  # characters of a comment
_HEAD: Final = """\
# yaml-language-server: $schema={schema}
# {about}
#
# keystead lab lint {file}    lists its errors
# keystead up {file}          starts it; options change it: keystead up --help
# keystead explain sites      explains a field; the last line of a section lists further fields
"""


def format_lab_file(data: Mapping[str, Any], file: str, about: str) -> str:
    """The Lab file of ``data``, for a ``file`` of that name; ``about``: what lab it is."""
    lines = [_HEAD.format(schema=SCHEMA_FILE, file=file, about=about).rstrip()]
    docs = field_docs(LabFields)
    for name, value in data.items():
        lines.append("")
        lines += _comment(docs.get(name, ""), "")
        lines += _field(LabFields, name, value, "", commented=True)
    lines += ["", *_others(LabFields, data, "")]
    return "\n".join(lines) + "\n"


def _field(
    model: type[BaseModel], name: str, value: Any, indent: str, *, commented: bool
) -> Iterator[str]:
    inner = next(models_in(model.model_fields[name].annotation), None)
    if inner is None or not value or not isinstance(value, dict | list):
        yield f"{indent}{name}: {_flow(value)}"
        return
    yield f"{indent}{name}:"
    if isinstance(value, dict):
        yield from _map(inner, value, indent + "  ", commented=commented)
        return
    for place, item in enumerate(value):
        first, *more = _map(inner, item, indent + "    ", commented=commented and place == 0)
        yield f"{indent}  - {first.lstrip()}"
        yield from more


def _map(
    model: type[BaseModel], value: Mapping[str, Any], indent: str, *, commented: bool
) -> Iterator[str]:
    """The lines of a map; the first one is a field, so that a list can begin with it."""
    docs = field_docs(model)
    for place, (name, item) in enumerate(value.items()):
        if commented and place and name in docs:
            yield from _comment(docs[name], indent)
        yield from _field(model, name, item, indent, commented=commented)
    if commented:
        yield from _others(model, value, indent)


def _others(model: type[BaseModel], value: Mapping[str, Any], indent: str) -> list[str]:
    """Which fields could stand here too."""
    others = [name for name in model.model_fields if name not in value]
    return _comment(f"Also: {', '.join(others)}.", indent) if others else []


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
    )


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, width=1 << 20, sort_keys=False)
    return text.strip()[1:-1]
