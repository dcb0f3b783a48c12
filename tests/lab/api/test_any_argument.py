"""Whatever is asked of a lab, the end is an answer or an error with an id; never a defect.

``KEYSTEAD_ARGUMENTS=100000`` tries that many instead of a few hundred; ``KEYSTEAD_SEED`` begins
elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.schema.commands import Command, name_of
from lab.schema.errors import OF_MANY_CAUSES, KeysteadError
from lab.schema.tables import document_of
from lab.schema.wire import decode_answer, decode_command, encode_answer, encode_command
from lab.serve.session import LabSession
from lab.serve.table import COMMANDS, perform
from lab.simulation.sim_lab import SimLab, make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from tests.lab.api.arguments import drawn

COUNT = int(os.environ.get("KEYSTEAD_ARGUMENTS", "400"))
FIRST = int(os.environ.get("KEYSTEAD_SEED", "1"))
IN_ONE_LAB = 50
HANGS_AFTER_S = 5.0  # real seconds; many commands wait for hours of the lab's time

pytestmark = [pytest.mark.sim, pytest.mark.timeout(60 + COUNT)]


@pytest.mark.parametrize("batch", range(FIRST, FIRST + -(-COUNT // IN_ONE_LAB)))
def test_any_argument_is_answered_or_refused(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    lab, session = make(plan(load("default", hosts=2, vms=2, tpm="model")), batch)
    with contextlib.closing(lab.loop):
        _tried(lab, session, batch)


def _tried(lab: SimLab, session: LabSession, batch: int) -> None:
    draw = random.Random(batch)
    kinds = sorted(COMMANDS, key=name_of)
    done: list[str] = []
    for _ in range(IN_ONE_LAB):
        kind = draw.choice(kinds)
        values = drawn(draw, kind)
        done.append(f"{kind.__name__}({values!r:.300})")
        began = time.monotonic()
        try:
            said = _asked(lab, session, kind, values)
        except BaseException as error:
            raise AssertionError(f"batch {batch}: {error!r} after:\n" + "\n".join(done)) from error
        taken = time.monotonic() - began
        story = "\n".join([f"batch {batch}: {said} after {taken:.1f} s", *done])
        assert "KS-INT" not in said and "Internal" not in said and "Traceback" not in said, story
        assert taken < HANGS_AFTER_S or COUNT < 1000, story
    for status in lab.run(lab.nodes()):
        counted = status.counters.get("internal_errors", 0)
        assert counted == 0, "\n".join([f"batch {batch}: {status.node}: {counted} errors", *done])


def _asked(
    lab: SimLab, session: LabSession, kind: type[Command[Any]], values: dict[str, Any]
) -> str:
    """What a door does with it, whole; the error as people read it, or nothing."""
    try:
        command = decode_command(encode_command(kind(**values)))
        answer = lab.run(perform(session, command))
        back = decode_answer(command, encode_answer(answer))
        msgspec.json.encode(document_of(back))
    except KeysteadError as error:
        assert error.exit_code and (error.fix or error.id in OF_MANY_CAUSES)
        assert re.sub(r"[\n\t]", "", str(error)).isprintable()
        return f"{error.id}: {error}"
    return ""
