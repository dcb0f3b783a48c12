"""Every fault, check, command and error is called by its name in some test."""

from __future__ import annotations

import pytest

from chaos.checks import CHECKS
from chaos.faults import FAULTS
from lab.api.wire import known_commands
from lab.errors import all_ids
from tests.tidy.mentions import texts, unmentioned


@pytest.mark.parametrize("name", [fault.kind for fault in FAULTS])
def test_every_fault_is_played_by_a_test(name: str) -> None:
    missing = unmentioned([name], texts(of_tests=True))
    assert missing == []


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_judged_by_a_test(name: str) -> None:
    missing = unmentioned([name], texts(of_tests=True))
    assert missing == []


@pytest.mark.parametrize("name", [kind.__name__ for kind in known_commands().values()])
def test_every_command_is_used_by_a_test(name: str) -> None:
    missing = unmentioned([name], texts(of_tests=True))
    assert missing == []


@pytest.mark.parametrize("name", all_ids())
def test_every_error_is_provoked_by_a_test(name: str) -> None:
    missing = unmentioned([name], texts(of_tests=True))
    assert missing == []


def test_a_name_that_no_test_uses_is_found() -> None:
    text = 'run("link.cut"); run("vm", "on"); keystead kms key show; KS-USE-0011; proc.killed'
    names = ["link.cut", "vm.on", "kms.key.show", "KS-USE-001", "proc.kill", "vm.off"]
    assert unmentioned(names, [text]) == ["KS-USE-001", "proc.kill", "vm.off"]


def test_the_tests_of_this_folder_do_not_count() -> None:
    assert not unmentioned(["KS-USE-003"], texts(of_tests=True))
    assert not [text for text in texts(of_tests=True) if "test_the_tests_of_this_folder" in text]
