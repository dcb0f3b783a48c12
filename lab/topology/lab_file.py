"""The Lab file (``kind: Lab``): what people write.

``LabFile`` is the pydantic model of the file; ``load`` reads a shipped file by name or one by path.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from chaos.yaml_file import Place, YamlFile, read_yaml
from lab.errors import KeysteadError
from protocol import names
from protocol.messages.agent import TpmBackend
from services import knobs

SHIPPED = Path(__file__).parent / "shipped"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _fits(rule: names.NameRule) -> AfterValidator:
    """A validator: the text is a name of this kind."""

    def named(value: str) -> str:
        if wrong := rule.fault(value):
            raise PydanticCustomError("name", "{text}", {"text": wrong})
        return value

    return AfterValidator(named)


LabName = Annotated[str, _fits(names.LAB)]
NodeText = Annotated[str, _fits(names.NODE)]
SiteName = Annotated[str, _fits(names.SITE)]
ClusterText = Annotated[str, _fits(names.CLUSTER)]
ProviderText = Annotated[str, _fits(names.PROVIDER)]


class _Named(_Model):
    name: NodeText
    site: SiteName = "main"


class VcenterModel(_Named):
    version: str = "8.0U3"


class KmsModel(_Named):
    pass


class ProviderModel(_Model):
    name: ProviderText
    type: Literal["standard", "trusted", "native"] = "standard"
    vcenter: str = "vcenter"
    servers: tuple[str, ...] = ()
    default: bool = True


class HostsModel(_Model):
    count: int = Field(default=3, ge=0, le=2000)
    version: str = "8.0U3"
    tpm: TpmBackend = TpmBackend.LIBTPMS
    secure_boot: bool = True
    key_persistence: bool = False
    pack: int = Field(default=1, ge=1, le=500)


class VmsModel(_Model):
    count: int = Field(default=0, ge=0, le=10000)
    encrypted: bool = True
    provider: str | None = None
    power: Literal["on", "off"] = "on"

    @field_validator("power", mode="before")
    @classmethod
    def _yaml_says_true(cls, value: object) -> object:
        """An unquoted ``on`` is a YAML boolean."""
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class ClusterModel(_Model):
    name: ClusterText
    vcenter: str = "vcenter"
    site: SiteName = "main"
    hosts: HostsModel = HostsModel()
    vms: VmsModel = VmsModel()


class LabFile(_Model):
    """The schema of the file; every error is reported with its line."""

    apiVersion: Literal["keystead/v1"]
    kind: Literal["Lab"]
    name: LabName = "default"
    pace: float = Field(default=30, gt=0, le=1000)
    sites: tuple[SiteName, ...] = ("main",)
    vcenters: tuple[VcenterModel, ...] = Field(min_length=1, max_length=1)
    kms: tuple[KmsModel, ...] = ()
    providers: tuple[ProviderModel, ...] = ()
    clusters: tuple[ClusterModel, ...] = ()
    knobs: dict[str, Any] = {}

    @field_validator("knobs")
    @classmethod
    def _has_known_knobs(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Each wrong knob is an error of its own, at its own place in the file."""
        wrong = [
            InitErrorDetails(
                type=PydanticCustomError("knob", "{text}", {"text": text}),
                loc=(name,),
                input=values[name],
            )
            for name, text in knobs.faults(values).items()
        ]
        if wrong:
            raise ValidationError.from_exception_data("knobs", wrong)
        return values


def load(source: str | Path | Mapping[str, Any], **changes: Any) -> LabFile:
    """Read a Lab file: shipped name, path, or a mapping; then apply ``changes`` (``override``).

    Raises KS-TOPO-001, which names file, line and column of all that is wrong.
    """
    if isinstance(source, Mapping):
        _validated(source, "lab", YamlFile())
        return _validated(override(dict(source), changes), "lab", YamlFile())
    path = SHIPPED / f"{source}.yaml"
    if not _is_there(path):
        path = Path(source)
    if not _is_there(path):
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise KeysteadError("KS-TOPO-001", f"no lab file {source}; shipped ones: {names}")
    where = str(path if path.parent != SHIPPED else path.name)
    file = _read(path, where)
    _validated(file.data, where, file)  # the file alone: changes expect its shape
    return _validated(override(dict(file.data), changes), where, file)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def _read(path: Path, where: str) -> YamlFile:
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeysteadError("KS-TOPO-001", f"{where}: cannot be read: {error}") from None
    file = read_yaml(text)
    if file.problems:
        lines = [f"{_at(where, problem.place)}: {problem.text}" for problem in file.problems]
        raise KeysteadError("KS-TOPO-001", "\n".join(lines))
    if not isinstance(file.data, dict):
        raise KeysteadError("KS-TOPO-001", f"{where}: a lab file is a mapping")
    return file


def _validated(data: Mapping[str, Any], where: str, file: YamlFile) -> LabFile:
    try:
        return LabFile.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{_at(where, file.place(e['loc'])) if file.places else where}: "
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
            for e in error.errors()
        ]
        raise KeysteadError("KS-TOPO-001", "\n".join(lines)) from None


def _at(where: str, place: Place) -> str:
    return f"{where}:{place.line}:{place.column}"


def override(data: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``hosts``, ``vms``, ``pack``, ``tpm``, ``kms``, ``key_persistence``, ``pace``, ``name``
    and ``knobs`` over what the file says; those about hosts change every cluster."""
    made = dict(data)
    wanted = {k: v for k, v in changes.items() if v is not None}
    for name in ("name", "pace"):
        if name in wanted:
            made[name] = wanted.pop(name)
    if "knobs" in wanted:
        knobs_wanted = wanted.pop("knobs")
        if not isinstance(knobs_wanted, Mapping):
            raise KeysteadError("KS-USE-003", "knobs: a mapping of names to values")
        made["knobs"] = {**made.get("knobs", {}), **knobs_wanted}
    if "kms" in wanted:
        made.update(_with_key_servers(made, wanted.pop("kms")))
    hosts = {
        field: wanted.pop(name)
        for name, field in (
            ("hosts", "count"),
            ("pack", "pack"),
            ("tpm", "tpm"),
            ("key_persistence", "key_persistence"),
        )
        if name in wanted
    }
    vms = {"count": wanted.pop("vms")} if "vms" in wanted else {}
    if wanted:
        raise KeysteadError("KS-TOPO-001", f"a lab file has no {', '.join(sorted(wanted))}")
    made["clusters"] = [
        {**c, "hosts": {**c.get("hosts", {}), **hosts}, "vms": {**c.get("vms", {}), **vms}}
        for c in made.get("clusters", [])
    ]
    return made


def _with_key_servers(data: Mapping[str, Any], count: object) -> dict[str, Any]:
    """``count`` key servers, each with a provider of its own: servers do not replicate here.

    The first provider keeps its name, so what refers to it goes on; the n-th is ``<name>-<n>``.
    """
    if not isinstance(count, int) or count < 1:
        text = "kms: a lab with providers needs servers, a whole number of at least one"
        raise KeysteadError("KS-USE-003", text)
    first = dict((data.get("kms") or [{}])[0])
    names = ["kms"] if count == 1 else [f"kms-{n}" for n in range(1, count + 1)]
    provider = dict((data.get("providers") or [{"name": "kms-provider"}])[0])
    providers = [
        {
            **provider,
            "name": provider["name"] if n == 1 else f"{provider['name']}-{n}",
            "servers": [name],
            "default": n == 1,
        }
        for n, name in enumerate(names, 1)
    ]
    return {"kms": [{**first, "name": n} for n in names], "providers": providers}
