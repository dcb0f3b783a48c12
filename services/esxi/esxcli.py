"""The grammar of ``esxcli`` on this host (which command a line is, and the help) and the form of
its output, with and without ``--formatter``. Pure. ``/sbin/auto-backup.sh`` is accepted too,
because the product's procedures end with it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, assert_never
from xml.sax.saxutils import escape, quoteattr

from protocol.releases import LATEST, Feature, Release, has
from protocol.terms import ProtectionMode

Value = bool | int | str
_XMLNS: Final = "http://www.vmware.com/Products/ESX/5.0/esxcli/"
_INDENT: Final = "   "


class Formatter(StrEnum):
    """Values of ``--formatter``."""

    CSV = "csv"
    JSON = "json"
    KEYVALUE = "keyvalue"
    XML = "xml"


@dataclass(frozen=True)
class OutputRecord:
    """Fields by name, as the console shows them. The console's own form shows ``title`` above
    them."""

    fields: tuple[tuple[str, Value], ...]
    title: str = ""


@dataclass(frozen=True)
class Output:
    """The result of a command. ``kind`` is the product's name of the structure. ``listed``: there
    may be several records. ``table``: the console's own form shows them as rows under one
    header."""

    kind: str
    records: tuple[OutputRecord, ...]
    listed: bool = False
    table: bool = False


def one(kind: str, *fields: tuple[str, Value]) -> Output:
    """Exactly one record."""
    return Output(kind, (OutputRecord(fields),))


def render(output: Output, formatter: Formatter | None) -> str:
    """The text on the console."""
    match formatter:
        case None:
            return _render_text(output)
        case Formatter.CSV:
            return _render_csv(output.records)
        case Formatter.JSON:
            found = [{_without_blanks(n): v for n, v in sorted(r.fields)} for r in output.records]
            return json.dumps(found if output.listed else found[0], indent=2)
        case Formatter.KEYVALUE:
            return "\n".join(_render_keyvalue(output))
        case Formatter.XML:
            return _render_xml(output)
        case _:
            assert_never(formatter)


def _render_text(output: Output) -> str:
    if output.table:
        return _render_table(output.records)
    return "\n\n".join(
        "\n".join(
            [
                *([r.title] if r.title else []),
                *(f"{_INDENT}{n}: {_format_value(v)}" for n, v in r.fields),
            ]
        )
        for r in output.records
    )


def _render_table(records: Sequence[OutputRecord]) -> str:
    if not records:
        return ""
    head = [name for name, _ in records[0].fields]
    rows = [[_format_value(value) for _, value in record.fields] for record in records]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head) - 1)]
    widths.append(len(head[-1]))  # the last column is not padded
    dashes = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, dashes, *rows]
    )


def _render_csv(records: Sequence[OutputRecord]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, record in enumerate(records):
        fields = sorted(record.fields)
        if number == 0:
            writer.writerow([*(_without_blanks(name) for name, _ in fields), ""])
        writer.writerow([*(_format_value(value) for _, value in fields), ""])
    return text.getvalue().rstrip("\n")


def _render_keyvalue(output: Output) -> list[str]:
    return [
        f"{output.kind}{f'[{number}]' if output.listed else ''}."
        f"{_without_blanks(name)}.{_type_name(value)}={_format_value(value)}"
        for number, record in enumerate(output.records)
        for name, value in sorted(record.fields)
    ]


def _render_xml(output: Output) -> str:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f'<output xmlns="{_XMLNS}">', "<root>"]
    if output.listed:
        lines.append('<list type="structure">')
    for record in output.records:
        lines.append(f"<structure typeName={quoteattr(output.kind)}>")
        for name, value in sorted(record.fields):
            element = f"<{_type_name(value)}>{escape(_format_value(value))}</{_type_name(value)}>"
            lines.append(f"<field name={quoteattr(_without_blanks(name))}>{element}</field>")
        lines.append("</structure>")
    if output.listed:
        lines.append("</list>")
    return "\n".join([*lines, "</root>", "</output>"])


def _without_blanks(name: str) -> str:
    """A field's name without blanks."""
    return name.replace(" ", "")


def _type_name(value: Value) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case str():
            return "string"
        case _:
            assert_never(value)


def _format_value(value: Value) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class UsageError(Exception):
    """The command line is wrong; the text is shown on the console."""


@dataclass(frozen=True)
class Help:
    """A namespace, or ``--help``: the result is the text."""

    text: str


@dataclass(frozen=True)
class PersistenceGet:
    """system security keypersistence get"""


@dataclass(frozen=True)
class PersistenceEnable:
    """system security keypersistence enable"""


@dataclass(frozen=True)
class PersistenceDisable:
    """system security keypersistence disable [--remove-all-stored-keys]"""

    remove_all: bool = False


@dataclass(frozen=True)
class EncryptionGet:
    """system settings encryption get"""


@dataclass(frozen=True)
class EncryptionSet:
    """system settings encryption set; None: the option is absent."""

    mode: ProtectionMode | None = None
    require_secure_boot: bool | None = None
    require_exec_installed_only: bool | None = None


@dataclass(frozen=True)
class RecoveryList:
    """system settings encryption recovery list"""


@dataclass(frozen=True)
class RecoveryRotate:
    """system settings encryption recovery rotate [-k old] [-u new]"""

    recovery_id: str = ""
    new_id: str = ""


@dataclass(frozen=True)
class KernelSet:
    """system settings kernel set -s NAME -v VALUE: an option of the next boots."""

    name: str
    value: str


@dataclass(frozen=True)
class KernelList:
    """system settings kernel list [-o NAME]"""

    name: str = ""


@dataclass(frozen=True)
class VersionGet:
    """system version get"""


@dataclass(frozen=True)
class VmProcessList:
    """vm process list"""


@dataclass(frozen=True)
class TrustedBootGet:
    """hardware trustedboot get"""


@dataclass(frozen=True)
class AutoBackup:
    """/sbin/auto-backup.sh: save the configuration now (DUR-01)."""


Command = (
    PersistenceGet
    | PersistenceEnable
    | PersistenceDisable
    | EncryptionGet
    | EncryptionSet
    | RecoveryList
    | RecoveryRotate
    | KernelSet
    | KernelList
    | VersionGet
    | VmProcessList
    | TrustedBootGet
    | AutoBackup
)


@dataclass(frozen=True)
class EsxcliCommandLine:
    """A parsed command line; ``formatter`` None: the console's own form."""

    command: Command | Help
    formatter: Formatter | None = None


Values = Mapping[str, str]


@dataclass(frozen=True)
class _Spec:
    """``options``: short and long names, mapped to the long one; ``flags`` take no value."""

    about: str
    make: Callable[[Values], Command]
    options: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()


def _parse_encryption_set(values: Values) -> EncryptionSet:
    if not values:
        raise UsageError("Error: Missing required parameter --mode")
    mode = values.get("--mode")
    if mode is not None and mode not in ("TPM", "NONE"):
        raise UsageError(f"Error: Invalid value for option --mode: {mode}")

    def truth(name: str) -> bool | None:
        value = values.get(name)
        return None if value is None else _parse_boolean(name, value)

    return EncryptionSet(
        None if mode is None else ProtectionMode(mode),
        truth("--require-secure-boot"),
        truth("--require-exec-installed-only"),
    )


def _parse_kernel_set(values: Values) -> KernelSet:
    if "--setting" not in values or "--value" not in values:
        raise UsageError("Error: Missing required parameter --setting or --value")
    return KernelSet(values["--setting"], values["--value"])


_REMOVE_ALL: Final = "--remove-all-stored-keys"
_PERSISTENCE: Final = ("system", "security", "keypersistence")
_ENCRYPTION: Final = ("system", "settings", "encryption")
_KERNEL: Final = ("system", "settings", "kernel")
_COMMANDS: Final[Mapping[tuple[str, ...], _Spec]] = {
    ("hardware", "trustedboot", "get"): _Spec(
        "Get the current status of trusted boot.", lambda _: TrustedBootGet()
    ),
    (*_PERSISTENCE, "disable"): _Spec(
        "Disable key persistence.",
        lambda values: PersistenceDisable(values.get(_REMOVE_ALL) == "true"),
        {_REMOVE_ALL: _REMOVE_ALL, "-r": _REMOVE_ALL},
        frozenset({_REMOVE_ALL}),
    ),
    (*_PERSISTENCE, "enable"): _Spec("Enable key persistence.", lambda _: PersistenceEnable()),
    (*_PERSISTENCE, "get"): _Spec(
        "Get whether key persistence is enabled.", lambda _: PersistenceGet()
    ),
    (*_ENCRYPTION, "get"): _Spec("Get the encryption mode and policy.", lambda _: EncryptionGet()),
    (*_ENCRYPTION, "recovery", "list"): _Spec(
        "List the recovery keys of the configuration.", lambda _: RecoveryList()
    ),
    (*_ENCRYPTION, "recovery", "rotate"): _Spec(
        "Replace the recovery key by a new one.",
        lambda values: RecoveryRotate(values.get("--keyid", ""), values.get("--uuid", "")),
        {"--keyid": "--keyid", "-k": "--keyid", "--uuid": "--uuid", "-u": "--uuid"},
    ),
    (*_ENCRYPTION, "set"): _Spec(
        "Set the encryption mode and policy.",
        _parse_encryption_set,
        {
            "--mode": "--mode",
            "-m": "--mode",
            "--require-secure-boot": "--require-secure-boot",
            "-s": "--require-secure-boot",
            "--require-exec-installed-only": "--require-exec-installed-only",
            "-e": "--require-exec-installed-only",
        },
    ),
    (*_KERNEL, "list"): _Spec(
        "List kernel settings.",
        lambda values: KernelList(values.get("--option", "")),
        {"--option": "--option", "-o": "--option"},
    ),
    (*_KERNEL, "set"): _Spec(
        "Set the value of a kernel setting, from the next boot on.",
        _parse_kernel_set,
        {"--setting": "--setting", "-s": "--setting", "--value": "--value", "-v": "--value"},
    ),
    ("system", "version", "get"): _Spec("Get version information.", lambda _: VersionGet()),
    ("vm", "process", "list"): _Spec("List the running VMs.", lambda _: VmProcessList()),
}
_NEEDS: Final[Mapping[tuple[str, ...], Feature]] = {
    _PERSISTENCE: Feature.KEY_PERSISTENCE,
    _ENCRYPTION: Feature.CONFIGURATION_ENCRYPTION,
}
"""Namespaces that older releases do not have."""
_BACKUP: Final = ("/sbin/auto-backup.sh", "auto-backup.sh")


def parse(arguments: Sequence[str], release: Release = LATEST) -> EsxcliCommandLine:
    """The command in these words on a host of that release; ``UsageError`` with the text to
    show."""
    commands = _commands_of(release)
    words = tuple(arguments)
    if len(words) == 1 and words[0] in _BACKUP:
        return EsxcliCommandLine(AutoBackup())
    if words[:1] == ("esxcli",):
        words = words[1:]
    words, formatter = _split_formatter(words)
    for command, spec in commands.items():
        if words[: len(command)] == command:
            rest = words[len(command) :]
            if "--help" in rest:
                return EsxcliCommandLine(Help(_command_help(command, spec)))
            return EsxcliCommandLine(spec.make(_parse_options(rest, spec)), formatter)
    namespace = tuple(word for word in words if word != "--help")
    if any(command[: len(namespace)] == namespace for command in commands):
        return EsxcliCommandLine(Help(_namespace_help(namespace, commands)))
    named = []
    for word in words:
        if word.startswith("-"):
            break
        named.append(word)
    raise UsageError("Error: Unknown command or namespace " + " ".join(named or words))


def _commands_of(release: Release) -> Mapping[tuple[str, ...], _Spec]:
    """The commands of a host of that release."""
    absent = [namespace for namespace, needs in _NEEDS.items() if not has(release, needs)]
    return {
        command: spec
        for command, spec in _COMMANDS.items()
        if not any(command[: len(namespace)] == namespace for namespace in absent)
    }


def _split_formatter(words: tuple[str, ...]) -> tuple[tuple[str, ...], Formatter | None]:
    """The words after a leading ``--formatter``, and its value."""
    if not words or words[0].partition("=")[0] != "--formatter":
        return words, None
    _, equals, value = words[0].partition("=")
    rest = words[1:]
    if not equals:
        value, rest = (rest[0], rest[1:]) if rest else ("", ())
    if value not in tuple(Formatter):
        known = ", ".join(Formatter)
        raise UsageError(f"Error: Invalid value for option --formatter: {value} (it is {known})")
    return rest, Formatter(value)


def _parse_options(words: tuple[str, ...], spec: _Spec) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        key = spec.options.get(name)
        if key is None:
            raise UsageError(f"Error: Invalid option {name}")
        if key in spec.flags:
            found[key] = str(_parse_boolean(name, value)).lower() if equals else "true"
        elif equals:
            found[key] = value
        elif rest:
            found[key] = rest.pop(0)
        else:
            raise UsageError(f"Error: Missing value for option {name}")
    return found


def _parse_boolean(name: str, value: str) -> bool:
    match value.lower():
        case "t" | "true" | "1" | "y" | "yes":
            return True
        case "f" | "false" | "0" | "n" | "no":
            return False
        case _:
            raise UsageError(f"Error: Invalid value for option {name}: {value}")


# Help --------------------------------------------------------------------------------------


def _namespace_help(namespace: tuple[str, ...], known: Mapping[tuple[str, ...], _Spec]) -> str:
    """The namespaces and commands right below, as ``esxcli`` lists them."""
    depth = len(namespace)
    commands: list[tuple[str, str]] = []
    namespaces: list[tuple[str, str]] = []
    for command, spec in known.items():
        if command[:depth] != namespace:
            continue
        if len(command) == depth + 1:
            commands.append((command[depth], spec.about))
        elif all(command[depth] != name for name, _ in namespaces):
            path = " ".join((*namespace, command[depth]))
            namespaces.append((command[depth], f"Commands of esxcli {path}."))
    usage = " ".join(("Usage: esxcli", *namespace, "{cmd} [cmd options]"))
    parts = [usage]
    if namespaces:
        parts.append("\n".join(["Available Namespaces:", *map(_format_entry, sorted(namespaces))]))
    if commands:
        parts.append("\n".join(["Available Commands:", *map(_format_entry, sorted(commands))]))
    return "\n\n".join(parts)


def _command_help(command: tuple[str, ...], spec: _Spec) -> str:
    parts = [
        " ".join(("Usage: esxcli", *command, "[cmd options]")),
        "\n".join(["Description:", _format_entry((command[-1], spec.about))]),
    ]
    names: dict[str, list[str]] = {}
    for name, key in spec.options.items():
        names.setdefault(key, []).append(name)
    if names:
        lines = ["|".join(sorted(each, key=len)) for each in names.values()]
        parts.append("\n".join(["Cmd options:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def _format_entry(named: tuple[str, str]) -> str:
    return f"  {named[0]:<20}  {named[1]}"
