"""Arguments of commands.

Names: shell completion offers those of the lab. Values: durations, shares, ``key=value``,
certificates; wrong ones are KS-USE-003.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from lab.schema.errors import KeysteadError
from protocol.authorization import Privilege
from protocol.printable import did_you_mean, quote_if_needed

if TYPE_CHECKING:
    from lab.topology.plan import Topology


def _lab(context: Any) -> str:
    given = context.get("--name")
    return (given.raw if given is not None else None) or "default"


def _of_lab(names: Callable[[Topology], Iterable[str]]) -> Callable[[Any], list[str]]:
    """Names from the lab's record on disk, so that completion sends no request to the lab."""

    def complete(context: Any) -> list[str]:
        from lab.state.state_folder import LabFolder
        from lab.topology.lab_file import LabFile
        from lab.topology.plan import plan

        try:
            record = LabFolder(_lab(context)).record()
            if record is None:
                return []
            added = [str(raw["node"]) for raw in record.hosts_added]
            return [*names(plan(LabFile.model_validate(record.file))), *added]
        except (KeysteadError, ValueError):
            return []  # no error on a line that is still being typed

    return complete


def _runs(context: Any) -> list[str]:
    from lab.state.scratch import state_home

    return sorted(path.parent.name for path in (state_home() / "runs").glob("*/run.json"))


def _files() -> list[str]:
    return sorted(path.name for path in Path.cwd().glob("*.yaml"))


def _experiments(context: Any) -> list[str]:
    from lab.play.prepare import list_shipped

    return [*(path.stem for path in list_shipped()), *_files()]


def _labs(context: Any) -> list[str]:
    from lab.topology.lab_file import SHIPPED

    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _lab_files(context: Any) -> list[str]:
    return [*_labs(context), *_files()]


def _conditions(context: Any) -> list[str]:
    from lab.serve.waiting import STATES

    return [f"{state}=" for state in STATES]


def _of_reference(noun: str) -> Callable[[Any], list[str]]:
    def complete(context: Any) -> list[str]:
        from chaos.reference import entries

        return [entry.name for entry in entries(noun)]

    return complete


SERVICES = ("attestation", "keyprovider")
"""Roles of the services of a Trust Authority."""
COMPLETERS: Mapping[str, Callable[[Any], list[str]]] = {
    "vm": _of_lab(lambda t: [v.vm for v in t.vms]),
    "host": _of_lab(lambda t: [s.node for s in t.nodes if s.role.value == "esxi"]),
    "node": _of_lab(lambda t: [s.node for s in t.nodes]),
    "service": _of_lab(lambda t: [s.node for s in t.nodes if s.role.value in SERVICES]),
    "run": _runs,
    "experiment": _experiments,
    "lab": _labs,
    "lab file": _lab_files,
    "condition": _conditions,
    **{
        noun: _of_reference(noun)
        for noun in ("fault", "action", "entry", "probe", "op", "check", "selector", "guard")
    },
}
"""By the value of ``completes`` of a field (``lab.schema.commands.base.doc``)."""
RunName = Annotated[str, Parameter(completer=COMPLETERS["run"])]
ExperimentName = Annotated[str, Parameter(completer=COMPLETERS["experiment"])]
NodeName = Annotated[str, Parameter(completer=COMPLETERS["node"])]


SECRET_OPTIONS = {
    "encryptionRecoveryKey": "key",
    "kmsPassphrase": "passphrase",
}
"""Boot options that are secrets, with the word for what each is."""


def _read(what: str, text: str, read: Callable[[object], float]) -> float:
    from pydantic_core import PydanticCustomError

    try:
        return read(text)
    except PydanticCustomError as error:
        raise KeysteadError("KS-USE-003", f"{what} {text}: {error.message()}") from None


def duration(what: str, text: str) -> float:
    """Lab seconds of ``30s``, ``250ms``, ``5m``, ``1h``; 0 for an empty text."""
    if not text:
        return 0.0
    if text.replace(".", "", 1).isdigit():
        raise KeysteadError(
            "KS-USE-003", f"{what} {text}: a time needs a unit: write {text}s or {text}m"
        )
    from chaos.fields import seconds

    return _read(what, text, seconds)


def check_range(option: str, value: float, least: float, most: float) -> None:
    """Raise KS-USE-003 for a number that is not between ``least`` and ``most``."""
    if not least <= value <= most:
        raise KeysteadError("KS-USE-003", f"{option} {value}: {least} to {most}")


def share(what: str, text: str) -> float:
    """0..1 of ``20%`` or ``0.2``."""
    from chaos.fields import share as read

    number: object = text
    try:
        number = float(text)
    except ValueError:
        pass
    return _read(what, text, lambda _: read(number))


def assignments(what: str, texts: Iterable[str]) -> dict[str, Any]:
    """``name=value`` each, with values as in a YAML file: ``true``, ``12``, ``[1, 7]``, ``30s``.

    A value that is not valid YAML is taken as text.
    """
    from chaos.yaml_file import read_yaml

    made: dict[str, Any] = {}
    for item in texts:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise KeysteadError("KS-USE-003", f"{what} {item}: write NAME=VALUE")
        if name in made:
            raise KeysteadError("KS-USE-003", f"{what} {item}: {name} is given twice")
        file = read_yaml(value) if value else None
        made[name] = None if file is None else value if file.problems else file.data
    return made


def boot_options(texts: Iterable[str]) -> dict[str, str]:
    """``name=value`` each; for ``name=-`` the value is read from standard input or the terminal.

    Secrets are refused on the command line, because every user of the machine could list them and
    shells store them in their history.
    """
    made: dict[str, str] = {}
    for option in texts:
        name, sign, value = option.partition("=")
        if not sign or not name:
            raise KeysteadError("KS-USE-003", f"--boot-option {option}: write NAME=VALUE")
        if name in SECRET_OPTIONS and value != "-":
            secret = SECRET_OPTIONS[name]
            raise KeysteadError(
                "KS-USE-003",
                f"--boot-option {name}: the {secret} would be visible in the list of processes",
                f"write `--boot-option {name}=-`, and enter the {secret} on standard input",
            )
        made[name] = _read_secret(name) if value == "-" else value
    return made


def _read_secret(name: str) -> str:
    """Read a secret: from a terminal without echo, else the next line of standard input.

    Blanks at the ends of a passphrase belong to it, as in a passphrase file.
    """
    if sys.stdin.isatty():
        from getpass import getpass

        line = getpass(f"{name}: ")
    else:
        line = sys.stdin.readline()
    return line.rstrip("\r\n") if SECRET_OPTIONS.get(name) == "passphrase" else line.strip()


def certificate(file: Path | None) -> bytes:
    """The first certificate of a PEM file (DER); empty without a file."""
    return certificates(file)[0] if file is not None else b""


def certificates(file: Path) -> tuple[bytes, ...]:
    """The certificates of a PEM file (DER), in its order."""
    from lab.kmip.credentials import certificates as read

    return read(file)


def privileges(texts: Iterable[str]) -> tuple[Privilege, ...]:
    """Privileges by their ids; KS-USE-003 with a suggestion for an unknown id."""
    known = [str(one) for one in Privilege]
    given = tuple(texts)
    for text in given:
        if text not in known:
            near = did_you_mean(text, known, cutoff=0.3)
            raise KeysteadError(
                "KS-USE-003", f"there is no privilege {quote_if_needed(text)}{near}"
            )
    return tuple(Privilege(text) for text in given)


class FieldReader(NamedTuple):
    """How the command line reads a field that is not a text, number or choice.

    ``hint`` is its type on the command line, ``default`` the default there. ``read`` builds the
    value of the field; its first argument names the option in an error.
    """

    hint: Any
    default: Any
    read: Callable[[str, Any], Any]


READERS = {
    "duration": FieldReader(str, "", lambda what, text: duration(what, text)),
    "lease": FieldReader(str, "", lambda what, text: duration(what, text) if text else None),
    "share": FieldReader(str, "", lambda what, text: share(what, text)),
    "path": FieldReader(Path | None, None, lambda what, file: str(file.absolute()) if file else ""),
    "certificate": FieldReader(Path | None, None, lambda what, file: certificate(file)),
    "certificates": FieldReader(Path, None, lambda what, file: certificates(file)),
    "bytes": FieldReader(str, "", lambda what, text: text.encode()),
    "kind": FieldReader(str, "", lambda what, text: text.replace("-", "_")),
    "words": FieldReader(tuple[str, ...], (), lambda what, words: tuple(words)),
    "privileges": FieldReader(tuple[str, ...], (), lambda what, texts: privileges(texts)),
    "assignments": FieldReader(
        tuple[str, ...], (), lambda what, texts: assignments("value", texts)
    ),
}
"""By the name that ``lab.schema.commands.base.doc`` gives a field."""
