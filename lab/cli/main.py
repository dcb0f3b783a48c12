"""The program ``keystead``: commands, error messages, exit codes.

Little is imported here at module level: an interrupt before ``main`` runs would be a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

    from lab.errors import KeysteadError

INTERRUPTED = 130
GROUPS = {
    "get": "Show what is there, as table, JSON, YAML or names.",
    "vm": "VM tasks, asked of vCenter or of a host.",
    "host": "Hosts (and vcenter, kms): power in all its ways, and vCenter's tasks on hosts.",
    "cluster": "Clusters: encryption mode and default key provider of all hosts.",
    "key": "Keys that vCenter knows, by id.",
    "tpm": "The TPM under a host, at the lab's side.",
    "kms": "Key servers, as their operator.",
    "provider": "Key providers of vCenter.",
    "link": "Links between two nodes: cut, delay, loss, duplicates.",
}


def build() -> App:
    """The whole program with every command; one module per noun."""
    from cyclopts import App

    from lab.cli import (
        chaos,
        crypto,
        describe,
        doctor,
        explain,
        faults,
        hosts,
        inventory,
        journal,
        keys,
        labs,
        measure,
        schema,
        vms,
        waiting,
    )

    app = App(
        name="keystead",
        help="A laboratory for vSphere key persistence: what survives which fault, "
        "on running parts.\n\n"
        "    keystead up\n    keystead get vms\n",
        version_flags=["--version"],
        version=_version,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,  # told by ``main``
    )
    for name, text in GROUPS.items():
        app.command(App(name=name, help=text, help_format="plaintext"))
    looking = (journal, hosts, vms, inventory, keys, crypto, faults, describe, explain)
    for module in (labs, *looking, chaos, doctor, measure, schema, waiting):
        module.register(app)
    return app


def _version() -> str:
    from importlib.metadata import version

    return f"keystead {version('keystead')}"


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code. Messages are on stderr."""
    from cyclopts import CycloptsError

    from lab.errors import KeysteadError
    from lab.supervise.scratch import collect

    collect()
    try:
        result = build()(
            arguments, print_error=False, exit_on_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(KeysteadError("KS-USE-001", _said(error)))
    except KeysteadError as error:
        return _complain(error)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        where = error.filename or "files"
        return _complain(KeysteadError("KS-LAB-005", f"{where}: {error.strerror}"))
    except Exception as error:
        # A defect: one message like every other, and the story for whoever reports it.
        import traceback

        story = "".join(traceback.format_exception(error))
        return _complain(KeysteadError("KS-INT-001", f"{type(error).__name__}: {error}\n{story}"))
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script: leaves by ``SystemExit`` with the exit code of the outcome."""
    code = INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\nkeystead: interrupted\n")
    except BrokenPipeError:
        # The reader has enough; do not complain about it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _said(error: Exception) -> str:
    """Cyclopts' message as one line, without its box."""
    return " ".join(str(error).split())


def _complain(error: KeysteadError) -> int:
    """One message with its id and one fix."""
    sys.stdout.flush()
    sys.stderr.write(f"keystead: error {error.id}: {error}\n")
    if error.fix:
        sys.stderr.write(f"  fix: {error.fix}\n")
    return error.exit_code


if __name__ == "__main__":
    main()
