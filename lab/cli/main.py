"""The program ``keystead``: commands, error messages, exit codes."""

from __future__ import annotations

import os
import sys

import cyclopts
from cyclopts import App
from rich.console import Console

from lab.errors import USAGE, KeysteadError

app = App(
    name="keystead",
    help="A laboratory for vSphere key persistence: what survives which fault, on running parts.",
    version_flags=[],
    help_format="markdown",
)


def register() -> None:
    """Enter every command; one module per noun."""
    from lab.cli import chaos, describe, doctor, faults, hosts, keys, labs, measure, vms

    for module in (labs, hosts, vms, keys, faults, describe, chaos, doctor, measure):
        module.register(app)


def main() -> None:
    """Run the command line; leaves by ``SystemExit`` with the exit code of its outcome."""
    register()
    try:
        result = app(print_error=False, exit_on_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        _complain("KS-USE-001", str(error), "run `keystead --help`, or `keystead COMMAND --help`")
        code = USAGE
    except KeysteadError as error:
        _complain(error.id, str(error), error.fix)
        code = error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\nkeystead: interrupted\n")
        code = 130
    except BrokenPipeError:
        # The reader has enough; do not complain about it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    else:
        code = result if isinstance(result, int) else 0
    sys.exit(code)


def _complain(error_id: str, message: str, fix: str) -> None:
    """One message with its id and one fix."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"keystead: error {error_id}: {message}", markup=False)
    if fix:
        console.print(f"  fix: {fix}", markup=False)


if __name__ == "__main__":
    main()
