"""esxcli over SOAP: the types of a host that clients learn at run time, and its method executer.

A client of a host asks ``DynamicTypeManager`` for types and objects, ``CLIInfo`` for help, and
calls a command as a method of an object such as ``ha-cli-handler-system-version``. By way of
vCenter the same calls go through the ``ManagedMethodExecuter`` of a host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vim, vmodl

from lab.vsphere.request import ApiRequest
from lab.vsphere.soap import read_text, write_any
from lab.vsphere.vim.esxcli import (
    COMMANDS,
    NAMESPACES,
    ROOT,
    VERSION,
    EsxcliCommand,
    commands_of,
    run,
)
from lab.vsphere.vim.managed import Managed, operation

TYPE_MANAGER, EXECUTER = "ha-dynamic-type-manager", "ha-managed-method-executer"
CLI_INFO, HANDLER = "ha-dynamic-type-manager-local-cli-cliinfo", "ha-cli-handler-"
_MANAGER, _MME = "vmodl.reflect.DynamicTypeManager", "vmodl.reflect.ManagedMethodExecuter"
_OPTIONAL = support.F_OPTIONAL
_Field = tuple[str, str, str, int]


def _fields(text: str) -> list[_Field]:
    """``name:type`` each; ``?`` behind a name: it may be absent."""
    found = []
    for one in text.split():
        name, _, kind = one.partition(":")
        flags = _OPTIONAL if name.endswith("?") else 0
        found.append((name.rstrip("?"), kind, VERSION, flags))
    return found


def _data(name: str, wsdl: str, fields: str, parent: str = "vmodl.DynamicData") -> None:
    support.CreateDataType(name, wsdl, parent, VERSION, _fields(fields))


def _method(name: str, wsdl: str, parameters: str, result: str) -> tuple[Any, ...]:
    listed = tuple((*one, None) for one in _fields(parameters))
    return name, wsdl, VERSION, listed, (_OPTIONAL, result, result), None, None


def _create_managed_type(name: str, wsdl: str, *methods: tuple[Any, ...]) -> Any:
    support.CreateManagedType(name, wsdl, "vmodl.ManagedObject", VERSION, None, list(methods))
    return support.GetVmodlType(name)


def _create_types() -> None:
    """The part of ``vmodl.reflect`` and ``vim.CLIInfo`` that pyVmomi does not have."""
    annotated = f"annotation?:{_MANAGER}.Annotation[]"
    named = "name:string wsdlName:string version:string"
    typed = f"name:string version:string type:string privId?:string {annotated}"
    _data(f"{_MANAGER}.Annotation", "DynamicTypeMgrAnnotation", "name:string parameter?:string[]")
    _data(
        f"{_MANAGER}.PropertyTypeInfo",
        "DynamicTypeMgrPropertyTypeInfo",
        f"name:string version:string type:string privId?:string msgIdFormat?:string {annotated}",
    )
    _data(f"{_MANAGER}.ParamTypeInfo", "DynamicTypeMgrParamTypeInfo", typed)
    _data(
        f"{_MANAGER}.DataTypeInfo",
        "DynamicTypeMgrDataTypeInfo",
        f"{named} base?:string[] property?:{_MANAGER}.PropertyTypeInfo[] {annotated}",
    )
    _data(
        f"{_MANAGER}.MethodTypeInfo",
        "DynamicTypeMgrMethodTypeInfo",
        f"{named} paramTypeInfo?:{_MANAGER}.ParamTypeInfo[] "
        f"returnTypeInfo?:{_MANAGER}.ParamTypeInfo fault?:string[] privId?:string {annotated}",
    )
    _data(
        f"{_MANAGER}.ManagedTypeInfo",
        "DynamicTypeMgrManagedTypeInfo",
        f"{named} base?:string[] property?:{_MANAGER}.PropertyTypeInfo[] "
        f"method?:{_MANAGER}.MethodTypeInfo[] {annotated}",
    )
    _data(f"{_MANAGER}.EnumTypeInfo", "DynamicTypeEnumTypeInfo", f"{named} value?:string[]")
    _data(
        f"{_MANAGER}.AllTypeInfo",
        "DynamicTypeMgrAllTypeInfo",
        f"managedTypeInfo?:{_MANAGER}.ManagedTypeInfo[] enumTypeInfo?:{_MANAGER}.EnumTypeInfo[] "
        f"dataTypeInfo?:{_MANAGER}.DataTypeInfo[]",
    )
    _data(f"{_MANAGER}.MoInstance", "DynamicTypeMgrMoInstance", "id:string moType:string")
    above = f"{_MANAGER}.FilterSpec"
    _data(above, "DynamicTypeMgrFilterSpec", "")
    by_type, by_object = "typeSubstr?:string", "id?:string typeSubstr?:string"
    _data(f"{_MANAGER}.TypeFilterSpec", "DynamicTypeMgrTypeFilterSpec", by_type, above)
    _data(f"{_MANAGER}.MoFilterSpec", "DynamicTypeMgrMoFilterSpec", by_object, above)
    soap = "ReflectManagedMethodExecuterSoap"
    _data(f"{_MME}.SoapArgument", f"{soap}Argument", "name:string val:string")
    _data(f"{_MME}.SoapFault", f"{soap}Fault", "faultMsg:string faultDetail?:string")
    _data(f"{_MME}.SoapResult", f"{soap}Result", f"response?:string fault?:{_MME}.SoapFault")
    info = "vim.CLIInfo"
    helped = "name:string displayName?:string help?:string"
    _data(f"{info}.Param", "VimCLIInfoParam", f"{helped} aliases?:string[] flag?:boolean")
    _data(
        f"{info}.Method",
        "VimCLIInfoMethod",
        f"{helped} param?:{info}.Param[] ret:{info}.Param hints?:vim.KeyValue[]",
    )
    _data(f"{info}.Info", "VimCLIInfoInfo", f"{helped} method?:{info}.Method[]")


_create_types()
DYNAMIC_TYPE_MANAGER = _create_managed_type(
    _MANAGER, "InternalDynamicTypeManager",
    _method("queryTypeInfo", "DynamicTypeMgrQueryTypeInfo",
            f"filterSpec?:{_MANAGER}.FilterSpec", f"{_MANAGER}.AllTypeInfo"),
    _method("queryMoInstances", "DynamicTypeMgrQueryMoInstances",
            f"filterSpec?:{_MANAGER}.FilterSpec", f"{_MANAGER}.MoInstance[]"),
)  # fmt: skip
METHOD_EXECUTER = _create_managed_type(
    _MME, "ReflectManagedMethodExecuter",
    _method("executeSoap", "ExecuteSoap",
            f"moid:string version:string method:string argument?:{_MME}.SoapArgument[]",
            f"{_MME}.SoapResult"),
)  # fmt: skip
CLI_INFO_TYPE = _create_managed_type(
    "vim.CLIInfo", "VimCLIInfo",
    _method("FetchCLIInfo", "VimCLIInfoFetchCLIInfo", "typeName:string", "vim.CLIInfo.Info"),
)  # fmt: skip
# Two methods of HostSystem that pyVmomi does not have: their names are all that counts.
_create_managed_type(
    "keystead.ReflectiveHost", "KeysteadReflectiveHost",
    _method("retrieveDynamicTypeManager", "RetrieveDynamicTypeManager", "", _MANAGER),
    _method("retrieveManagedMethodExecuter", "RetrieveManagedMethodExecuter", "", _MME),
)  # fmt: skip


def _type(name: str) -> Any:
    return support.GetVmodlType(name)


# ---- types, as a client asks for them


def _annotations(flags: int) -> list[Any]:
    return [_type(f"{_MANAGER}.Annotation")(name="optional")] if flags & _OPTIONAL else []


def _name_of(kind: Any) -> str:
    return str(support.GetVmodlName(kind))


def _data_info(kind: Any, parent: str) -> Any:
    properties = [
        _type(f"{_MANAGER}.PropertyTypeInfo")(
            name=p.name, version=VERSION, type=_name_of(p.type), annotation=_annotations(p.flags)
        )
        for p in kind._propList
    ]
    return _type(f"{_MANAGER}.DataTypeInfo")(
        name=_name_of(kind), wsdlName=kind._wsdlName, version=VERSION, base=[parent],
        property=properties,
    )  # fmt: skip


def _method_name(info: Any) -> str:
    """The name as it was given: pyVmomi's tables have it with a capital."""
    name = str(info.name)
    return name if name == "FetchCLIInfo" else name[0].lower() + name[1:]


def _method_info(info: Any) -> Any:
    parameter = _type(f"{_MANAGER}.ParamTypeInfo")
    return _type(f"{_MANAGER}.MethodTypeInfo")(
        name=_method_name(info), wsdlName=info.wsdlName, version=VERSION,
        fault=[f"{ROOT}.CLIFault"],
        paramTypeInfo=[
            parameter(
                name=p.name, version=VERSION, type=_name_of(p.type),
                annotation=_annotations(p.flags),
            )
            for p in info.params
        ],
        returnTypeInfo=parameter(
            name="result", version=VERSION, type=_name_of(info.result),
            annotation=_annotations(info.resultFlags),
        ),
    )  # fmt: skip


def _managed_info(name: str, allowed: Callable[[str], bool]) -> Any:
    kind = _type(name)
    methods = [
        _method_info(info)
        for _, info in sorted(kind._methodInfo.items())
        if allowed(f"{name}.{_method_name(info)}")
    ]
    return _type(f"{_MANAGER}.ManagedTypeInfo")(
        name=name, wsdlName=kind._wsdlName, version=VERSION, base=["vmodl.ManagedObject"],
        method=methods,
    )  # fmt: skip


def type_info(version: str, wanted: str) -> Any:
    """The types whose names contain ``wanted``, for a host of a release."""
    commands = commands_of(version)
    served = {f"{ROOT}.{'.'.join(one.words)}" for one in commands} | {"vim.CLIInfo.FetchCLIInfo"}
    data = [(f"vim.CLIInfo.{n}", "vmodl.DynamicData") for n in ("Param", "Method", "Info")]
    data.append((f"{ROOT}.CLIFault", "vmodl.MethodFault"))
    data += [(c.result.removesuffix("[]"), "vmodl.DynamicData") for c in commands if c.kind]
    managed = ["vim.CLIInfo", *(f"{ROOT}.{n}" for n in _namespaces(commands))]
    return _type(f"{_MANAGER}.AllTypeInfo")(
        managedTypeInfo=[_managed_info(n, served.__contains__) for n in managed if wanted in n],
        dataTypeInfo=[_data_info(_type(n), above) for n, above in data if wanted in n],
    )


def _namespaces(commands: list[EsxcliCommand]) -> list[str]:
    return list(dict.fromkeys(one.namespace for one in commands))


# ---- help


def _help_of(command: EsxcliCommand) -> Any:
    parameter = _type("vim.CLIInfo.Param")
    hints = command.hints or (("formatter", "simple"),)
    return _type("vim.CLIInfo.Method")(
        name=command.words[-1], displayName=command.words[-1], help=command.about,
        param=[
            parameter(
                name=p.name, displayName=p.option[2:], help=p.about, aliases=[p.option, p.short],
                flag=p.flag,
            )
            for p in command.parameters
        ],
        ret=parameter(name="result", help="", flag=False),
        hints=[vim.KeyValue(key=key, value=value) for key, value in hints],
    )  # fmt: skip


def command_info(version: str, type_name: str) -> Any:
    """The help of ``vim.EsxCLI.system.version``, and of a namespace above commands; ``NotFound``
    where there is neither."""
    namespace = type_name.removeprefix(f"{ROOT}.")
    commands = commands_of(version)
    here = [one for one in commands if one.namespace == namespace]
    below = any(one.namespace.startswith(namespace + ".") for one in commands)
    if not here and not below:
        text = f"Unknown command or namespace {namespace.replace('.', ' ')}"
        raise vim.fault.NotFound(msg=text)
    path, last = namespace.replace(".", " "), namespace.rpartition(".")[2]
    return _type("vim.CLIInfo.Info")(
        name=namespace, displayName=last, help=f"Commands of esxcli {path}.",
        method=[_help_of(one) for one in here],
    )  # fmt: skip


# ---- objects


class _OfHost(Managed):
    """An object of one host: ``host`` is its ``HostSystem``."""

    def __init__(self, host: Any, object_id: str) -> None:
        super().__init__(object_id)
        self.host = host


class DynamicTypeManager(_OfHost):
    """Types and objects of esxcli."""

    kind = DYNAMIC_TYPE_MANAGER

    @operation
    async def DynamicTypeMgrQueryTypeInfo(self, request: ApiRequest, filterSpec: Any = None) -> Any:
        """Types, by a part of their names."""
        return type_info(self.host.row.version, getattr(filterSpec, "typeSubstr", None) or "")

    @operation
    async def DynamicTypeMgrQueryMoInstances(
        self, request: ApiRequest, filterSpec: Any = None
    ) -> list[Any]:
        """Objects, by id or by a part of their types' names."""
        wanted = getattr(filterSpec, "typeSubstr", None) or ""
        by_id = getattr(filterSpec, "id", None)
        instance = _type(f"{_MANAGER}.MoInstance")
        found = [(CLI_INFO, "vim.CLIInfo")]
        for namespace in _namespaces(commands_of(self.host.row.version)):
            found.append((HANDLER + namespace.replace(".", "-"), f"{ROOT}.{namespace}"))
        return [
            instance(id=i, moType=t) for i, t in found if wanted in t and by_id in (None, "", i)
        ]


class CliInfo(_OfHost):
    """Help."""

    kind = CLI_INFO_TYPE

    @operation
    async def VimCLIInfoFetchCLIInfo(self, request: ApiRequest, typeName: str) -> Any:
        """The commands of a namespace."""
        return command_info(self.host.row.version, typeName)


class _Handler(_OfHost):
    """The commands of one namespace; a class of its own for each is made below."""


def _handler_class(namespace: str) -> type[_Handler]:
    def make(command: EsxcliCommand) -> Any:
        async def call(self: _Handler, request: ApiRequest, **arguments: Any) -> Any:
            if command not in commands_of(self.host.row.version):
                raise vmodl.fault.MethodNotFound(receiver=self.ref, method=command.words[-1])
            return await run(request, self.host.name, command, arguments)

        return operation(call)

    kind = _type(f"{ROOT}.{namespace}")
    methods = {
        kind._methodInfo[support.Capitalize(one.words[-1])].wsdlName: make(one)
        for one in COMMANDS
        if one.namespace == namespace
    }
    return type("Handler", (_Handler,), {"kind": kind, **methods})


_HANDLERS = {HANDLER + n.replace(".", "-"): _handler_class(n) for n in NAMESPACES}


class MethodExecuter(_OfHost):
    """Calls methods of a host's own objects for a client of vCenter, or of the host."""

    kind = METHOD_EXECUTER

    @operation
    async def ExecuteSoap(
        self, request: ApiRequest, moid: str, version: str, method: str, argument: Any = ()
    ) -> Any:
        """The result of a method as text, or its fault; ``HostNotConnected`` by way of vCenter."""
        if not self.host.connected:
            raise vmodl.fault.HostNotConnected(msg=f"{self.host.name} does not answer vCenter")
        result, fault = _type(f"{_MME}.SoapResult"), _type(f"{_MME}.SoapFault")
        try:
            target = find_object(self.host, moid)
            info = _info_of(target, method)
            given = {a.name: a.val for a in argument or ()}
            arguments = dict(_arguments(info, given))
            value = await getattr(target, info.wsdlName)(request, **arguments)
        except vim.fault.NoPermission:
            raise
        except vmodl.MethodFault as error:
            text = error.msg or type(error).__name__
            return result(fault=fault(faultMsg=text, faultDetail=write_any(error, VERSION)))
        return result(response=write_any(value, VERSION))


def _info_of(target: Any, method: str) -> Any:
    type_name, _, name = method.rpartition(".")
    info = target.kind._methodInfo.get(support.Capitalize(name)) if target else None
    if info is None or _name_of(target.kind) != type_name:
        words = type_name.removeprefix(ROOT).replace(".", " ").strip()
        raise vim.fault.NotFound(msg=f"Unknown command or namespace {words} {name}")
    return info


def _arguments(info: Any, given: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for parameter in info.params:
        text = given.pop(parameter.name, None)
        if text is not None:
            yield parameter.name, read_text(text, parameter.type)
        elif not parameter.flags & _OPTIONAL:
            raise vmodl.fault.InvalidArgument(
                invalidProperty=parameter.name, msg=f"{parameter.name} is needed"
            )
    if given:
        name = next(iter(given))
        raise vmodl.fault.InvalidArgument(invalidProperty=name, msg=f"there is no {name}")


def find_object(host: Any, object_id: str) -> Managed | None:
    """An object of a host's esxcli by its id at that host; None where there is none."""
    made: dict[str, Any] = {
        TYPE_MANAGER: DynamicTypeManager, EXECUTER: MethodExecuter, CLI_INFO: CliInfo, **_HANDLERS,
    }  # fmt: skip
    kind = made.get(object_id)
    found: Managed | None = kind(host, object_id) if kind else None
    return found


def find_for_vcenter(inventory: Any, object_id: str) -> Managed | None:
    """The type manager or executer of a host, by its id at vCenter."""
    for prefix, kind in ((TYPE_MANAGER, DynamicTypeManager), (EXECUTER, MethodExecuter)):
        if object_id.startswith(prefix + "-"):
            host = inventory.objects.get(object_id.removeprefix(prefix + "-"))
            if host in inventory.hosts.values():
                return kind(host, object_id)
    return None
