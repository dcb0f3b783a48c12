"""The program ``keystead``: commands, error messages, exit codes.

Little is imported here at module level: an interrupt before ``main`` runs would be a traceback.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from lab.cli.interrupts import INTERRUPTED, Interrupts

if TYPE_CHECKING:
    from cyclopts import CycloptsError

    from lab.schema.errors import KeysteadError

COMMAND_ALLOCATIONS = 50_000
"""Between two looks of the garbage collector. What is imported stays: with Python's 700 every
tenth millisecond of a short command went into looking through it. The nodes of a lab look more
often (``CHILD_ALLOCATIONS`` of the fork server): what cycles hold until a look is memory, which a
command gives back soon, and hundreds of processes keep."""


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code. Messages are on stderr."""
    if arguments == ["healthcheck"]:  # asked in every container every few seconds
        from lab.machines.checkup import main as checked

        return checked()
    from lab.cli import plain_get
    from lab.cli.streams import NotWritten, OutputClosed
    from lab.schema.errors import KeysteadError
    from lab.state.scratch import collect

    collect()
    try:
        code = plain_get.run(arguments)
        if code is None:
            code = _parse_and_run(arguments)
        sys.stdout.flush()
    except KeysteadError as error:
        return _complain(error)
    except OutputClosed:
        return 0
    except NotWritten as error:
        return _complain(KeysteadError("KS-OUT-001", f"standard output: {error.strerror}"))
    except OSError as error:
        where = error.filename or "files"
        return _complain(KeysteadError("KS-LAB-005", f"{where}: {error.strerror}"))
    except Exception as error:
        # A defect: one message like every other, and the story for whoever reports it.
        import traceback

        story = "".join(traceback.format_exception(error))
        return _complain(KeysteadError("KS-INT-001", f"{type(error).__name__}: {error}\n{story}"))
    return code


def _parse_and_run(arguments: list[str]) -> int:
    """Run a command line that cyclopts parses; KS-USE-001 when it does not understand it."""
    from cyclopts import CycloptsError

    from lab.cli.program import ready_for, spell_out
    from lab.schema.errors import KeysteadError

    arguments = spell_out(arguments)
    try:
        result = ready_for(arguments)(
            arguments, print_error=False, exit_on_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        raise KeysteadError("KS-USE-001", *_describe_misuse(error)) from None
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script: leaves by ``SystemExit`` with the exit code of the outcome."""
    code, interrupted, interrupts = INTERRUPTED, False, Interrupts()
    interrupts.arm()
    gc.set_threshold(COMMAND_ALLOCATIONS)
    try:
        from lab.cli.streams import prepare

        prepare()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        interrupted = True
    try:
        interrupts.settle(code)
    except KeyboardInterrupt:  # it came just before
        interrupts.settle(code)
    if interrupted:
        sys.stderr.write("\nkeystead: interrupted\n")
    sys.exit(code)


def _describe_misuse(error: CycloptsError) -> tuple[str, str]:
    """What is wrong with a command line, on one line without cyclopts' box, and where its help is.

    What is missing is called as the command's usage calls it."""
    from cyclopts import MissingArgumentError, UnusedCliTokensError

    words = " ".join(error.command_chain or ())
    message = " ".join(str(error).split())
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        argument = error.argument
        option = [name for name in argument.names if name.startswith("--")]
        by_name = not argument.field_info.is_positional
        what = option[0] if by_name and option else argument.field_info.name.upper()
        typed = what in (error.root_input_tokens or ())
        how = "needs a value" if typed else "is missing"
        message = f"{words}: {what.replace('_', '-')} {how}"
    elif isinstance(error, UnusedCliTokensError):
        message = f"{words}: there is no place for {' '.join(error.unused_tokens or ())}"
    help = " ".join(["keystead", *(error.command_chain or ()), "--help"])
    return message, f"`{help}` shows what there is"


def _complain(error: KeysteadError) -> int:
    """One message with its id and one fix."""
    with suppress(OSError):
        sys.stdout.flush()
    sys.stderr.write(f"keystead: error {error.id}: {error}\n")
    if error.fix:
        sys.stderr.write(f"  fix: {error.fix}\n")
    return error.exit_code


if __name__ == "__main__":
    main()
