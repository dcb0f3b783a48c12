"""The section ``service_times`` of a Lab file, and profiles (``kind: ServiceProfile``).

A profile says how long nodes of each role, or of a name, work on what. What a Lab file says itself
goes before what its profile says. Decision 103 has the model behind them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from chaos.text_file import text_of
from chaos.units import Seconds, format_s
from chaos.yaml_file import read_yaml
from lab.schema.errors import KeysteadError
from protocol.messages import attestation, base, host, keyprovider, kms, vcenter
from protocol.messages.agent import Distribution, ServiceTime, ServiceTimes
from protocol.terms import NodeName, Role
from services.runtime.tpm.latency import LATENCY_S

PROFILES: Final = Path(__file__).parent / "profiles"

DEVICE_CLASSES: Final = (
    *(f"disk.{call}" for call in ("read", "write", "append", "sync", "replace", "sync_folder")),
    *("db.transact", "db.query"),
    *(name if name.startswith("vtpm.") else f"tpm.{name}" for name in LATENCY_S),
)
"""Work of a node's devices; it takes these times in the simulation only."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Time = Annotated[Seconds, PlainSerializer(format_s, when_used="json")]


class ServiceTimeModel(_Model):
    """How long one piece of work takes: `20ms`, or a mapping with its distribution."""

    mean: Time
    """Its mean, in lab time."""
    distribution: Distribution = Distribution.CONSTANT
    """How single times scatter around the mean."""
    each: Time = 0.0
    """On top, for every entry of the message's longest list: each key of a `GetKeys`."""
    spread: float = Field(default=1.0, gt=0, le=10)
    """Of `lognormal`: the standard deviation divided by the mean."""


def _in_short(value: object) -> object:
    return value if isinstance(value, Mapping | ServiceTimeModel) else {"mean": value}


class NodeTimesModel(_Model):
    """How one node works, or all nodes of one role."""

    cores: Annotated[int, Field(strict=True)] | None = Field(default=None, ge=1, le=256)
    """Pieces of work at a time. None: as the profile says, else 1."""
    times: dict[str, Annotated[ServiceTimeModel, BeforeValidator(_in_short)]] = {}
    """By class of work: a request (`CreateKey`), the reply to one that it sent
    (`CreateKey.reply`), `*` and `*.reply` for all others, and in the simulation disk, TPM and TLS
    (`disk.sync`, `db.transact`, `tpm.unseal`)."""


class ServiceTimesModel(_Model):
    """How long nodes work on what; without it a node's own work takes no lab time.

    On real processes requests wait for these times on top of what the machine takes.
    """

    profile: str = ""
    """A shipped profile (`hsm`), or the path of one (`load calibrate` writes
    such files)."""
    nodes: dict[str, NodeTimesModel] = {}
    """By role (`kms`, `vcenter`, `esxi`, `attestation`, `keyprovider`) or by node."""


class ProfileModel(_Model):
    """A profile of service times, with the source of its figures."""

    apiVersion: Literal["keystead/v1"]
    """The version of this format."""
    kind: Literal["ServiceProfile"]
    """What the file is."""
    name: str
    """What the profile is called."""
    source: str = Field(min_length=1)
    """Where its figures come from: a data sheet, a measurement with its machine and date."""
    nodes: dict[str, NodeTimesModel]
    """By role, or by node."""


def with_profile(data: dict[str, Any]) -> dict[str, Any]:
    """The content of a Lab file with the figures of its profile in it, which is read here.

    KS-TOPO-001 for a profile that cannot be read or is not valid.
    """
    section = data.get("service_times")
    if not isinstance(section, Mapping) or not isinstance(section.get("profile"), str):
        return data
    if not section["profile"]:
        return data
    profile = read_profile(section["profile"])
    named = NodeTimesModel.model_validate
    own = {name: named(one) for name, one in dict(section.get("nodes") or {}).items()}
    nodes = {
        name: _merge([profile.nodes.get(name), own.get(name)]).model_dump(mode="json")
        for name in dict.fromkeys([*profile.nodes, *own])
    }
    return data | {"service_times": {**section, "nodes": nodes}}


def read_profile(source: str) -> ProfileModel:
    """The profile of that shipped name or path; KS-TOPO-001 when there is none, or for its
    faults."""
    shipped = PROFILES / f"{source}.yaml"
    path = shipped if "/" not in source and shipped.exists() else Path(source)
    try:
        file = read_yaml(text_of(path))
    except (OSError, ValueError) as error:
        names = ", ".join(sorted(one.stem for one in PROFILES.glob("*.yaml")))
        text = f"service_times: profile {source} cannot be read: {error}; shipped ones: {names}"
        raise KeysteadError("KS-TOPO-001", text) from None
    wrong = [f"{path}:{problem.place.line}: {problem.text}" for problem in file.problems]
    if not wrong:
        try:
            profile = ProfileModel.model_validate(file.data)
        except ValidationError as error:
            wrong = [
                f"{path}:{file.place(one['loc']).line}: "
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
                for one in error.errors(include_url=False)
            ]
        else:
            found = times_misfits(profile.nodes)
            wrong = [f"{path}:{file.place(('nodes', *at)).line}: {text}" for at, text in found]
    if wrong:
        raise KeysteadError("KS-TOPO-001", "\n".join(wrong))
    return profile


def service_of(
    section: ServiceTimesModel | None, node: NodeName, role: Role
) -> ServiceTimes | None:
    """The service times of a node: those of its name before those of its role; None without."""
    if section is None:
        return None
    found = [section.nodes.get(role.value), section.nodes.get(node)]
    if not any(found):
        return None
    merged = _merge(found)
    times = {
        kind: ServiceTime(
            mean_s=time.mean,
            distribution=time.distribution,
            each_s=time.each,
            spread=time.spread,
        )
        for kind, time in merged.times.items()
    }
    return ServiceTimes(cores=merged.cores or 1, times=times)


def _merge(layers: list[NodeTimesModel | None]) -> NodeTimesModel:
    """Later layers go before earlier ones, class by class."""
    cores: int | None = None
    times: dict[str, ServiceTimeModel] = {}
    for layer in layers:
        if layer is not None:
            cores = layer.cores or cores
            times |= layer.times
    return NodeTimesModel(cores=cores, times=times)


def times_misfits(
    nodes: Mapping[str, NodeTimesModel],
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Classes of work that do not exist: their place below ``nodes``, and a text."""
    for name, one in nodes.items():
        for kind in one.times:
            if kind.removesuffix(".reply") not in _classes():
                near = difflib.get_close_matches(kind, _classes(), n=3)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                yield (name, "times", kind), f"no class of work {kind}{hint}"


@cache
def _classes() -> frozenset[str]:
    names = {
        name
        for module in (attestation, host, keyprovider, kms, vcenter)
        for name, one in base.messages_of(module.__name__).items()
        if issubclass(one, base.Request)
    }
    return frozenset({"*", *DEVICE_CLASSES, *names})
