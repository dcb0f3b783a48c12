"""The section ``service_times`` of a Lab file, and profiles (``kind: ServiceProfile``).

A profile says how long nodes of each role, or of a name, work on what. What a Lab file says itself
goes before what its profile says. Decisions 103 and 107 have the model behind them.
"""

from __future__ import annotations

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
    model_validator,
)

from chaos.fields import Seconds, format_s
from chaos.yaml_file import read_yaml, text_of
from lab.schema.errors import KeysteadError
from protocol.messages import attestation, base, host, keyprovider, kms, vcenter
from protocol.messages.agent import (
    COLD,
    WAKEUP,
    Distribution,
    ServiceTime,
    ServiceTimes,
    SharedMachine,
)
from protocol.printable import did_you_mean
from protocol.terms import NodeName, Role
from services.runtime.tpm.latency import LATENCY_S

PROFILES: Final = Path(__file__).parent / "profiles"

FORMAT: Final = 2
"""The newest format of a profile. 1 has ``nodes`` only; 2 also has ``machine``, and in ``nodes``
the shared processes ``bus`` and ``client``."""

SHARED_PROCESSES: Final = ("bus", "client")
"""What else works on a shared machine: the broker, and the client with the control plane."""

DISK_CALLS: Final = ("read", "write", "append", "sync", "replace", "sync_folder")
DATASTORE_CALLS: Final = tuple(
    "lock unlock holders read write read_blocks write_blocks files vms remove".split()
)
DEVICE_CLASSES: Final = (
    *(f"disk.{call}" for call in DISK_CALLS),
    *(f"datastore.{call}" for call in DATASTORE_CALLS),
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
    (`disk.sync`, `db.transact`, `tpm.unseal`), and what the next piece of work of an idle process
    takes longer: `wakeup`, and `cold` when it was idle for 20 ms or longer."""


class SharedMachineModel(_Model):
    """One machine for all processes of the lab, in the simulation only."""

    cores: Annotated[int, Field(strict=True)] = Field(ge=1, le=256)
    """Processor cores that nodes, broker and client share, each as much as the others."""
    delay: Annotated[ServiceTimeModel, BeforeValidator(_in_short)] | None = None
    """Time that a process that was idle waits for a core."""
    after: float = Field(default=0.0, ge=0, lt=1)
    """The share of `wakeup` and `cold` that comes later and holds nothing of its process up."""


class ServiceTimesModel(_Model):
    """How long nodes work on what; without it a node's own work takes no lab time.

    On real processes requests wait for these times on top of what the machine takes.
    """

    profile: str = ""
    """A shipped profile (`hsm`), or the path of one (`load calibrate` writes
    such files)."""
    nodes: dict[str, NodeTimesModel] = {}
    """By role (`kms`, `vcenter`, `esxi`, `attestation`, `keyprovider`) or by node; on a shared
    machine also `bus` (the broker: `*`) and `client` (`Ask`, `Ask.reply`)."""
    machine: SharedMachineModel | None = None
    """The machine that all of them share. None: as the profile says, else each node has cores of
    its own."""


class ProfileModel(_Model):
    """A profile of service times, with the source of its figures."""

    apiVersion: Literal["keystead/v1"]
    """The version of this format."""
    kind: Literal["ServiceProfile"]
    """What the file is."""
    format: Annotated[int, Field(strict=True)] = Field(default=1, ge=1)
    """The format of the file: 2 with a `machine`."""
    name: str
    """What the profile is called."""
    source: str = Field(min_length=1)
    """Where its figures come from: a data sheet, a measurement with its machine and date."""
    nodes: dict[str, NodeTimesModel]
    """By role, or by node; `bus` and `client` on a shared machine."""
    machine: SharedMachineModel | None = None
    """The machine that all processes share; None: each node has cores of its own."""

    @model_validator(mode="after")
    def _is_known(self) -> ProfileModel:
        if self.format > FORMAT:
            text = f"format {self.format} is of a newer keystead; this one reads 1 to {FORMAT}"
            raise ValueError(text)
        new = [name for name in ("machine",) if self.machine is not None]
        new += [f"nodes.{name}" for name in SHARED_PROCESSES if name in self.nodes]
        if self.format == 1 and new:
            raise ValueError(f"{', '.join(new)}: needs `format: {FORMAT}`")
        return self


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
    merged = {**section, "nodes": nodes}
    if profile.machine is not None and section.get("machine") is None:
        merged["machine"] = profile.machine.model_dump(mode="json")
    return data | {"service_times": merged}


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
    return _service_times(_merge(found))


def machine_of(section: ServiceTimesModel | None) -> SharedMachine | None:
    """The machine that all processes of the lab share; None where they do not."""
    if section is None or section.machine is None:
        return None
    machine, nodes = section.machine, section.nodes
    bus, client = (nodes.get(name, NodeTimesModel()) for name in SHARED_PROCESSES)
    return SharedMachine(
        cores=machine.cores,
        delay=None if machine.delay is None else _service_time(machine.delay),
        after=machine.after,
        bus=_service_times(bus),
        client=_service_times(client),
    )


def _service_times(model: NodeTimesModel) -> ServiceTimes:
    times = {kind: _service_time(time) for kind, time in model.times.items()}
    return ServiceTimes(cores=model.cores or 1, times=times)


def _service_time(model: ServiceTimeModel) -> ServiceTime:
    return ServiceTime(
        mean_s=model.mean,
        distribution=model.distribution,
        each_s=model.each,
        spread=model.spread,
    )


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
                near = did_you_mean(kind, _classes(), most=3)
                yield (name, "times", kind), f"no class of work {kind}{near}"


@cache
def _classes() -> frozenset[str]:
    names = {
        name
        for module in (attestation, host, keyprovider, kms, vcenter)
        for name, one in base.messages_of(module.__name__).items()
        if issubclass(one, base.Request)
    }
    return frozenset({"*", "Ask", WAKEUP, COLD, *DEVICE_CLASSES, *names})
