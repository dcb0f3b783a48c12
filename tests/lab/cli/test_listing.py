"""What `get` does with its list, on answers as a lab gives them."""

from __future__ import annotations

import pytest

from lab.cli.invocation import Format
from lab.cli.options import Options
from lab.cli.output import show
from lab.cli.results import Listing
from lab.schema.answers import Vm, VmList
from lab.schema.errors import KeysteadError
from protocol.terms import (
    ClusterName,
    NodeName,
    PowerState,
    VmConnectionState,
    VmName,
)


def vm(name: str, host: str) -> Vm:
    return Vm(
        vm=VmName(name),
        cluster=ClusterName("cluster-a"),
        host=NodeName(host),
        power=PowerState.ON,
        connection=VmConnectionState.CONNECTED,
    )


LIST = Listing(Vm.table)
ANSWER = VmList(items=(vm("vm-01", "esxi-002"), vm("vm-02", "esxi-001"), vm("vm-10", "esxi-001")))


def names(answer: VmList) -> list[str]:
    return [str(item.vm) for item in answer.items]


def test_some_by_name_in_the_order_they_are_asked_for() -> None:
    assert names(LIST.select_items(ANSWER, ("vm-10", "vm-01"))) == ["vm-10", "vm-01"]
    assert names(LIST.select_items(ANSWER, ())) == ["vm-01", "vm-02", "vm-10"]
    with pytest.raises(KeysteadError, match="there is no vm vm-03, vm-04") as missing:
        LIST.select_items(ANSWER, ("vm-01", "vm-03", "vm-04"))
    assert missing.value.id == "KS-USE-002"


def test_sorted_by_a_column_or_a_field() -> None:
    assert names(LIST.select_items(ANSWER, (), "host")) == ["vm-02", "vm-10", "vm-01"]
    assert names(LIST.select_items(ANSWER, (), "KEY ID")) == [
        "vm-01",
        "vm-02",
        "vm-10",
    ]
    with pytest.raises(KeysteadError, match="--sort-by size") as wrong:
        LIST.select_items(ANSWER, (), "size")
    assert wrong.value.id == "KS-USE-003" and "host" in wrong.value.fix


def test_rows_only(capsys: pytest.CaptureFixture[str]) -> None:
    show(ANSWER, Format.TABLE, Vm.table.columns, key="vm", headers=False)
    assert capsys.readouterr().out.splitlines()[0].startswith("vm-01  esxi-002")


def test_quiet_is_names_unless_a_format_is_asked_for() -> None:
    assert Options(quiet=True).output is Format.NAME
    assert Options(quiet=True, output=Format.JSON).output is Format.JSON
