"""vCenter's recent tasks: how they end, in which order they are listed, and how many are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from protocol.errors import InvalidPowerState
from protocol.messages.vcenter.inventory import AcknowledgeAlarm, ListTasks, TaskInfoState
from protocol.messages.vcenter.vms import PowerOffVm
from protocol.terms import NodeName, VmName
from services.vcenter.vcenter import ENDED_LIMIT, REASON_LIMIT, TaskLog
from tests.services.vcenter.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_a_refused_task_is_listed_with_its_fault(rig: Rig) -> None:
    assert rig.do(ListTasks()).tasks == ()
    message = PowerOffVm(vm=VmName("none"))
    assert type(rig.refused(message)).__name__ == "NotFound"
    (task,) = rig.do(ListTasks()).tasks
    assert (task.key, task.name, task.entity) == ("task-1", "PowerOffVm", "none")
    assert (task.state, task.error) == (TaskInfoState.ERROR, "NotFound")
    assert "none" in task.reason and task.complete_time == task.start_time


def test_a_vcenter_that_restarts_begins_a_new_list(rig: Rig) -> None:
    rig.refused(AcknowledgeAlarm(host=NodeName("esxi-009")))
    assert len(rig.do(ListTasks()).tasks) == 1
    rig.reboot(NodeName("vcenter"))
    assert rig.do(ListTasks()).tasks == ()


class _Clock:
    at = 0.0

    def now(self) -> float:
        self.at += 1.0
        return self.at


def _log() -> TaskLog:
    return TaskLog(_Clock())  # type: ignore[arg-type]


def test_what_runs_is_listed_and_never_dropped() -> None:
    log = _log()
    with log.task("EncryptVm", "vm-01", "a"):
        for number in range(ENDED_LIMIT + 5):
            with log.task("PowerOnVm", f"vm-{number}", "a"):
                assert log.after(0)[-1].state is TaskInfoState.RUNNING
        first, *others = log.after(0)
        assert (first.entity, first.state) == ("vm-01", TaskInfoState.RUNNING)
        assert len(others) == ENDED_LIMIT and others[0].entity == "vm-5"
        assert [task.number for task in log.after(others[-3].number)] == [
            task.number for task in others[-2:]
        ]
    assert len(log.after(0)) == ENDED_LIMIT
    assert log.after(0)[0].state is TaskInfoState.SUCCESS or log.after(0)[0].number > 1


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (InvalidPowerState("x" * 9000), "InvalidPowerState"),
        (asyncio.CancelledError(), "RuntimeFault"),
    ],
)
def test_what_leaves_a_task_ends_it(error: BaseException, named: str) -> None:
    log = _log()
    with pytest.raises(type(error)), log.task("PowerOnVm", "vm-01", "a"):
        raise error
    (task,) = log.after(0)
    assert (task.state, task.error) == (TaskInfoState.ERROR, named)
    assert 0 < len(task.reason) <= REASON_LIMIT and task.complete_time is not None
