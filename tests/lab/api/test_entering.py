"""Names and numbers are checked where they enter: told at once, and nothing is begun."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.client import Lab
from lab.runs.store import RunFolder, all_runs
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.schema.wire import encode_command
from lab.state.state_folder import LabFolder

HOSTILE = ("../../x", "a/b", "a\n", "\x1b[31m", "x" * 300, " ", "a\x00")
CUT = {"between": ["vcenter", "kms"]}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "make",
    [
        lambda name: c.VmCreate(name),
        lambda name: c.VmCreate("vm-09", cluster=name),
        lambda name: c.HostAdd(name),
        lambda name: c.HostAdd("", name),
        lambda name: c.ProviderAdd(name, ("kms",)),
        lambda name: c.FaultInject("link.cut", CUT, id=name),
        lambda name: c.ChaosPlay(name),
        lambda name: c.ChaosStop(name),
    ],
)
def test_a_name_is_refused_before_anything_is_asked(
    make: Callable[[str], c.Command[Any]], name: str
) -> None:
    with pytest.raises(KeysteadError) as caught:
        make(name)
    assert caught.value.id == "KS-USE-003" and caught.value.exit_code == 64
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "make",
    [
        lambda: c.GetEvents(after=2**63),
        lambda: c.GetEvents(after=-1),
        lambda: c.GetEvents(limit=2**63),
        lambda: c.LinkDelay("vcenter", "kms", 1e-12),
        lambda: c.LinkDelay("vcenter", "kms", 1e9),
        lambda: c.LinkDelay("vcenter", "kms", 1.0, jitter_s=math.inf),
        lambda: c.FaultInject("link.cut", CUT, lease_s=1e12),
        lambda: c.VmCreate(""),
        lambda: c.ChaosPlay(""),
        lambda: c.ProviderAdd("", ("kms",)),
    ],
)
def test_a_number_has_its_ends(make: Callable[[], c.Command[Any]]) -> None:
    with pytest.raises(KeysteadError) as caught:
        make()
    assert caught.value.id == "KS-USE-003"


@pytest.mark.parametrize("name", ["", "../x", "a\n", "default\n", "x" * 41, "Prod", "a b", "é"])
def test_a_lab_is_a_folder_of_one_name(name: str) -> None:
    with pytest.raises(KeysteadError, match="is no lab name") as caught:
        LabFolder(name)
    assert caught.value.id == "KS-USE-003"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\n", "/etc", "x" * 121])
def test_a_run_is_a_folder_of_one_name(name: str) -> None:
    with pytest.raises(KeysteadError) as caught:
        RunFolder(name)
    assert caught.value.id == "KS-RUN-001"


def test_a_folder_that_is_no_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    (tmp_path / "runs" / "a b").mkdir(parents=True)
    (tmp_path / "runs" / "a b" / "run.json").write_text("{}")
    assert all_runs() == []


@pytest.mark.parametrize("text", ["\ud800", "vm\udfff"])
def test_words_that_are_no_unicode_are_refused(text: str) -> None:
    """A terminal hands such a text on when its bytes are no UTF-8."""
    with pytest.raises(KeysteadError) as caught:
        encode_command(c.VmUnlock(text))
    assert caught.value.id == "KS-USE-003" and str(caught.value).isprintable()
    with pytest.raises(KeysteadError):
        encode_command(c.FaultInject("link.cut", {"p": 2**64}))


@pytest.mark.sim
async def test_what_was_refused_was_not_begun() -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        before = (await lab.do(c.GetHosts()), await lab.do(c.GetVms()))
        for command in (
            c.FaultInject("link.cut", {"between": ["vcenter", "vcenter"]}),
            c.FaultInject("link.delay", {**CUT, "base": "0.000000001ms"}),
            c.FaultInject("link.delay", {**CUT, "base": "١s"}),
            c.FaultInject("tpm.clear", {"on": "kms"}),
            c.HostAdd("vcenter"),
        ):
            with pytest.raises(KeysteadError) as caught:
                await lab.do(command)
            assert caught.value.exit_code in (1, 64), f"{command}: {caught.value.id}"
        assert (await lab.do(c.GetFaults())).items == ()
        assert (await lab.do(c.GetHosts()), await lab.do(c.GetVms())) == before
