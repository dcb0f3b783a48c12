"""The notes themselves: made in every process, not for what a test makes by itself, and judged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reached.registries import complaints, named

SITE = Path(__file__).parent / "site"
PRODUCT = """
import os
from lab.schema.errors import KeysteadError
from protocol.errors import Busy
from chaos.checks import judge

judge(["no_fault_left"], [])
for _ in range(3):
    KeysteadError("KS-USE-001")
if os.fork() == 0:
    Busy("in a child")
    os._exit(0)
os.wait()
"""


def notes(tmp_path: Path, file: str) -> list[str]:
    """What the program above leaves behind when it lies in ``file``."""
    into, program = tmp_path / "notes", tmp_path / file
    program.parent.mkdir(exist_ok=True)
    program.write_text(PRODUCT)
    root = str(Path(__file__).parents[2])
    env = {
        **os.environ,
        "KEYSTEAD_REACHED": str(into),
        "PYTHONPATH": os.pathsep.join((str(SITE), root)),
    }
    subprocess.run([sys.executable, str(program)], env=env, check=True, timeout=60)
    return into.read_text().splitlines() if into.exists() else []


def test_what_the_product_does_is_noted_once_in_each_process(tmp_path: Path) -> None:
    assert notes(tmp_path, "lab/program.py") == [
        "check no_fault_left",
        "error KS-USE-001",
        "product-error Busy",
    ]


def test_an_error_that_a_test_makes_by_itself_is_not(tmp_path: Path) -> None:
    assert notes(tmp_path, "tests/program.py") == ["check no_fault_left"]


def test_a_note_that_cannot_be_written_is_no_error_of_the_product() -> None:
    env = {**os.environ, "KEYSTEAD_REACHED": "/dev/full", "PYTHONPATH": str(SITE)}
    program = "import sitecustomize\nsitecustomize.note('error', 'KS-USE-001')\n"
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=60)


@pytest.mark.parametrize(
    ("reached", "out_of_reach", "said"),
    [
        ({("fault", "a"), ("error", "b")}, {}, []),
        ({("fault", "a")}, {}, ["no test reaches the error b"]),
        ({("fault", "a")}, {("error", "b"): "needs another machine"}, []),
        (
            {("fault", "a"), ("error", "b")},
            {("error", "b"): "needs another machine"},
            ["the error b is said to be out of reach, and is not"],
        ),
        (
            {("fault", "a"), ("error", "b")},
            {("event", "gone"): "it was removed"},
            ["the event gone is said to be out of reach, and is not"],
        ),
    ],
)
def test_what_is_missing_or_needless_is_named(
    reached: set[tuple[str, str]], out_of_reach: dict[tuple[str, str], str], said: list[str]
) -> None:
    assert complaints({("fault", "a"), ("error", "b")}, reached, out_of_reach) == said


def test_what_the_text_of_a_test_names_is_left_to_slow_tests(tmp_path: Path) -> None:
    lines = 'assert "error KS-LAB-001: " in err', "E.DRS_VM_MIGRATED", '"com.KS-LAB-0022"'
    (tmp_path / "test_one.py").write_text("\n".join(lines))
    (tmp_path / "one.py").write_text("KS-LAB-003")
    wanted = {("error", "KS-LAB-001"), ("event", "vim.event.DrsVmMigratedEvent")}
    assert named(tmp_path) == wanted
