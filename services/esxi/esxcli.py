"""The words of ``esxcli`` on this host: parsing and the product's exact texts. Pure.

| command | output |
|---|---|
| system security keypersistence get / enable / disable | one field / none / none |
| system settings encryption get / set | three fields / none |
| system settings encryption recovery list / rotate | a table / none |
| system settings kernel set | none |
| hardware trustedboot get | two fields |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.terms import ProtectionMode
from services.esxi.configuration.recovery import RecoveryKey


class UsageError(Exception):
    """The command line is wrong; the text is what the console shows."""


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
    """system settings encryption set; None = not named."""

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
class TrustedBootGet:
    """hardware trustedboot get"""


Command = (
    PersistenceGet
    | PersistenceEnable
    | PersistenceDisable
    | EncryptionGet
    | EncryptionSet
    | RecoveryList
    | RecoveryRotate
    | KernelSet
    | TrustedBootGet
)

_PERSISTENCE = ("system", "security", "keypersistence")
_ENCRYPTION = ("system", "settings", "encryption")
_FLAG = "flag"
# Command words -> its options: short and long names to the long one.
_OPTIONS: dict[tuple[str, ...], dict[str, str]] = {
    (*_PERSISTENCE, "get"): {},
    (*_PERSISTENCE, "enable"): {},
    (*_PERSISTENCE, "disable"): {"--remove-all-stored-keys": _FLAG, "-r": _FLAG},
    (*_ENCRYPTION, "get"): {},
    (*_ENCRYPTION, "set"): {
        "--mode": "mode",
        "-m": "mode",
        "--require-secure-boot": "require-secure-boot",
        "-s": "require-secure-boot",
        "--require-exec-installed-only": "require-exec-installed-only",
        "-e": "require-exec-installed-only",
    },
    (*_ENCRYPTION, "recovery", "list"): {},
    (*_ENCRYPTION, "recovery", "rotate"): {
        "--keyid": "keyid",
        "-k": "keyid",
        "--uuid": "uuid",
        "-u": "uuid",
    },
    ("system", "settings", "kernel", "set"): {
        "--setting": "setting",
        "-s": "setting",
        "--value": "value",
        "-v": "value",
    },
    ("hardware", "trustedboot", "get"): {},
}


def parse(arguments: Sequence[str]) -> Command:
    """The command of these words; ``UsageError`` with the console's text."""
    words = tuple(arguments)
    for command, options in _OPTIONS.items():
        if words[: len(command)] == command:
            return _command(command, _values(words[len(command) :], options))
    named = []
    for word in words:
        if word.startswith("-"):
            break
        named.append(word)
    raise UsageError("Error: Unknown command or namespace " + " ".join(named or words))


def _values(words: tuple[str, ...], options: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        key = options.get(name)
        if key is None:
            raise UsageError(f"Error: Invalid option {name}")
        if key == _FLAG:
            found[_FLAG] = _truth(name, value) if equals else "true"
        elif equals:
            found[key] = value
        elif rest:
            found[key] = rest.pop(0)
        else:
            raise UsageError(f"Error: Missing value for option {name}")
    return found


def _truth(name: str, value: str) -> str:
    match value.lower():
        case "t" | "true" | "1" | "y" | "yes":
            return "true"
        case "f" | "false" | "0" | "n" | "no":
            return "false"
        case _:
            raise UsageError(f"Error: Invalid value for option {name}: {value}")


def _command(command: tuple[str, ...], values: dict[str, str]) -> Command:
    match command:
        case ("system", "security", "keypersistence", "get"):
            return PersistenceGet()
        case ("system", "security", "keypersistence", "enable"):
            return PersistenceEnable()
        case ("system", "security", "keypersistence", "disable"):
            return PersistenceDisable(values.get(_FLAG) == "true")
        case ("system", "settings", "encryption", "get"):
            return EncryptionGet()
        case ("system", "settings", "encryption", "set"):
            return _encryption_set(values)
        case ("system", "settings", "encryption", "recovery", "list"):
            return RecoveryList()
        case ("system", "settings", "encryption", "recovery", "rotate"):
            return RecoveryRotate(values.get("keyid", ""), values.get("uuid", ""))
        case ("system", "settings", "kernel", "set"):
            if "setting" not in values or "value" not in values:
                raise UsageError("Error: Missing required parameter --setting or --value")
            return KernelSet(values["setting"], values["value"])
        case _:
            return TrustedBootGet()


def _encryption_set(values: dict[str, str]) -> EncryptionSet:
    if not values:
        raise UsageError("Error: Missing required parameter --mode")
    mode = values.get("mode")
    if mode is not None and mode not in ("TPM", "NONE"):
        raise UsageError(f"Error: Invalid value for option --mode: {mode}")

    def truth(name: str) -> bool | None:
        value = values.get(name)
        return None if value is None else _truth(f"--{name}", value) == "true"

    return EncryptionSet(
        None if mode is None else ProtectionMode(mode),
        truth("require-secure-boot"),
        truth("require-exec-installed-only"),
    )


# Texts -------------------------------------------------------------------------------------


def persistence_text(enabled: bool) -> str:
    """What ``keypersistence get`` prints (KP-04)."""
    return f"Enabled: {_word(enabled)}"


def encryption_text(mode: ProtectionMode, *, exec_only: bool, secure_boot: bool) -> str:
    """CFG-04."""
    return (
        f"   Mode: {mode.value}\n"
        f"   Require Executables Only From Installed VIBs: {_word(exec_only)}\n"
        f"   Require Secure Boot: {_word(secure_boot)}"
    )


def recovery_text(key: RecoveryKey) -> str:
    """The table of REC-01: what an administrator writes down."""
    return (
        "Recovery ID                             Key\n"
        "--------------------------------------  ---\n"
        f"{key.recovery_id}  {key.text()}"
    )


def trustedboot_text(tpm_present: bool) -> str:
    """What ``hardware trustedboot get`` prints; DRTM is not part of this lab."""
    return f"   Drtm Enabled: false\n   Tpm Present: {_word(tpm_present)}"


def _word(value: bool) -> str:
    return "true" if value else "false"
