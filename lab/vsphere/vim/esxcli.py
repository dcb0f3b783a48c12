"""The commands of esxcli that a host offers, as data, and how one is carried out.

The words and options are those of the host's console, which carries them out; here are the types
that clients need of them. ``/sbin/auto-backup.sh`` is no esxcli and has no place here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pyVmomi import VmomiSupport as support

from lab.schema import commands as c
from lab.vsphere.request import ApiRequest
from protocol.authorization import Privilege
from protocol.releases import Feature, has, release_of

VERSION = "vim.version.version5"
ROOT = "vim.EsxCLI"
STRING, BOOLEAN, LONG = "string", "boolean", "long"


@dataclass(frozen=True)
class Parameter:
    """An option of a command. ``flag``: it has no value at the command line."""

    option: str
    short: str
    about: str
    type: str = STRING
    flag: bool = False
    required: bool = False

    @property
    def name(self) -> str:
        """Its name in the API: ``removeallstoredkeys``."""
        return self.option.replace("-", "")


@dataclass(frozen=True)
class EsxcliCommand:
    """A command. ``kind``: the structure of its result with its ``fields``; empty: the result is
    a truth value. ``listed``: there may be several of them. ``hints``: how a client prints it."""

    words: tuple[str, ...]
    about: str
    parameters: tuple[Parameter, ...] = ()
    kind: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    listed: bool = False
    hints: tuple[tuple[str, str], ...] = ()
    needs: Feature | None = None

    @property
    def namespace(self) -> str:
        """``system.settings.encryption``."""
        return ".".join(self.words[:-1])

    @property
    def result(self) -> str:
        """The type of the result, by its name in vmodl."""
        if not self.kind:
            return BOOLEAN
        return f"{ROOT}.{'.'.join(self.words)}.{self.kind}" + ("[]" if self.listed else "")

    @property
    def privilege(self) -> Privilege:
        """What a user of vCenter needs for it."""
        secret = self.words[:3] == _ENCRYPTION or not self.kind
        return Privilege.HOST_SETTINGS if secret else Privilege.READ


_ENCRYPTION = ("system", "settings", "encryption")
_PERSISTENCE = ("system", "security", "keypersistence")
_KERNEL = ("system", "settings", "kernel")
COMMANDS = (
    EsxcliCommand(
        ("hardware", "trustedboot", "get"), "Get the current status of trusted boot.",
        kind="TrustedBoot", fields=(("DrtmEnabled", BOOLEAN), ("TpmPresent", BOOLEAN)),
    ),
    EsxcliCommand(
        (*_PERSISTENCE, "disable"), "Disable key persistence.",
        (Parameter("--remove-all-stored-keys", "-r", "Remove all stored keys.", BOOLEAN, True),),
        needs=Feature.KEY_PERSISTENCE,
    ),
    EsxcliCommand(
        (*_PERSISTENCE, "enable"), "Enable key persistence.", needs=Feature.KEY_PERSISTENCE
    ),
    EsxcliCommand(
        (*_PERSISTENCE, "get"), "Get whether key persistence is enabled.",
        kind="KeyPersistence", fields=(("Enabled", BOOLEAN),), needs=Feature.KEY_PERSISTENCE,
    ),
    EsxcliCommand(
        (*_ENCRYPTION, "get"), "Get the encryption mode and policy.", kind="ConfigEncryption",
        fields=(
            ("Mode", STRING), ("RequireExecutablesOnlyFromInstalledVIBs", BOOLEAN),
            ("RequireSecureBoot", BOOLEAN),
        ),
        needs=Feature.CONFIGURATION_ENCRYPTION,
    ),
    EsxcliCommand(
        (*_ENCRYPTION, "recovery", "list"), "List the recovery keys of the configuration.",
        kind="RecoveryKey", fields=(("Key", STRING), ("RecoveryID", STRING)), listed=True,
        hints=(("formatter", "table"), ("table-columns", "Recovery ID,Key")),
        needs=Feature.CONFIGURATION_ENCRYPTION,
    ),
    EsxcliCommand(
        (*_ENCRYPTION, "recovery", "rotate"), "Replace the recovery key by a new one.",
        (
            Parameter("--keyid", "-k", "The id of the present recovery key."),
            Parameter("--uuid", "-u", "The id of the new recovery key."),
        ),
        needs=Feature.CONFIGURATION_ENCRYPTION,
    ),
    EsxcliCommand(
        (*_ENCRYPTION, "set"), "Set the encryption mode and policy.",
        (
            Parameter("--mode", "-m", "TPM."),
            Parameter("--require-secure-boot", "-s", "Boot with Secure Boot only.", BOOLEAN),
            Parameter(
                "--require-exec-installed-only", "-e", "Execute installed programs only.", BOOLEAN
            ),
        ),
        needs=Feature.CONFIGURATION_ENCRYPTION,
    ),
    EsxcliCommand(
        (*_KERNEL, "list"), "List kernel settings.",
        (Parameter("--option", "-o", "Only this setting."),),
        kind="KernelSetting", listed=True,
        hints=(
            ("formatter", "table"),
            ("table-columns", "Name,Type,Configured,Runtime,Default,Description"),
        ),
        fields=tuple(
            (name, STRING)
            for name in ("Configured", "Default", "Description", "Name", "Runtime", "Type")
        ),
    ),
    EsxcliCommand(
        (*_KERNEL, "set"), "Set the value of a kernel setting, from the next boot on.",
        (
            Parameter("--setting", "-s", "The setting.", required=True),
            Parameter("--value", "-v", "Its value.", required=True),
        ),
    ),
    EsxcliCommand(
        ("system", "version", "get"), "Get version information.", kind="VersionInfo",
        fields=tuple(
            (name, STRING) for name in ("Build", "Patch", "Product", "Update", "Version")
        ),
    ),
    EsxcliCommand(
        ("vm", "process", "list"), "List the running VMs.", kind="VirtualMachine", listed=True,
        fields=(
            ("ConfigFile", STRING), ("DisplayName", STRING), ("ProcessID", LONG), ("UUID", STRING),
            ("WorldID", LONG),
        ),
        hints=(
            ("formatter", "simple"), ("list-header", "Display Name"),
            ("list-order", "World ID,Process ID,UUID,Display Name,Config File"),
        ),
    ),
)  # fmt: skip


def wsdl_name(name: str) -> str:
    """``VimEsxCLIsystemversionget`` for ``vim.EsxCLI.system.version.get``."""
    return "Vim" + name.removeprefix("vim").replace(".", "")


def _method(command: EsxcliCommand) -> tuple[Any, ...]:
    parameters = tuple(
        (p.name, p.type, VERSION, 0 if p.required else support.F_OPTIONAL, None)
        for p in command.parameters
    )
    name = command.words[-1]
    full = f"{ROOT}.{'.'.join(command.words)}"
    result = (support.F_OPTIONAL if command.listed else 0, command.result, command.result)
    return (name, wsdl_name(full), VERSION, parameters, result, None, [f"{ROOT}.CLIFault"])


def _create_types() -> None:
    """Add the types of all commands to pyVmomi's tables."""
    support.CreateDataType(
        f"{ROOT}.CLIFault", wsdl_name(f"{ROOT}.CLIFault"), "vmodl.MethodFault", VERSION,
        [("errMsg", "string[]", VERSION, 0)],
    )  # fmt: skip
    for command in COMMANDS:
        if command.kind:
            name = command.result.removesuffix("[]")
            fields = [(field, kind, VERSION, 0) for field, kind in command.fields]
            support.CreateDataType(name, wsdl_name(name), "vmodl.DynamicData", VERSION, fields)
    for namespace in NAMESPACES:
        name = f"{ROOT}.{namespace}"
        methods = [_method(one) for one in COMMANDS if one.namespace == namespace]
        support.CreateManagedType(
            name, wsdl_name(name), "vmodl.ManagedObject", VERSION, None, methods
        )


NAMESPACES = tuple(dict.fromkeys(one.namespace for one in COMMANDS))
_create_types()


def commands_of(version: str) -> list[EsxcliCommand]:
    """The commands that a host of a release such as ``8.0U3`` has."""
    release = release_of(version)
    return [one for one in COMMANDS if one.needs is None or has(release, one.needs)]


def cli_fault(text: str) -> Any:
    """What a command says that fails."""
    lines = text.strip().removeprefix("Error: ").splitlines() or ["the command failed"]
    kind = support.GetVmodlType(f"{ROOT}.CLIFault")
    return kind(errMsg=lines, msg="EsxCLI.CLIFault.summary")


async def run(
    request: ApiRequest, host: str, command: EsxcliCommand, arguments: dict[str, Any]
) -> Any:
    """The result of a command on a host: its structure, a list of them, or True.

    Raises ``CLIFault`` with the words of the console, and ``NoPermission``.
    """
    await request.require(command.privilege)
    words = ["--formatter=json", *command.words]
    for parameter in command.parameters:
        value = arguments.get(parameter.name)
        if value is None:
            continue
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        words.append(f"{parameter.option}={text}")
    asked = c.Esx(host, tuple(words))
    answer = await (request.ask(asked) if command.kind else request.do(asked))
    if answer.exit_code:
        raise cli_fault(answer.output)
    if not command.kind:
        return True
    found = json.loads(answer.output)
    kind = support.GetVmodlType(command.result)
    if not command.listed:
        return kind(**found)
    return kind([kind.Item(**row) for row in found])
