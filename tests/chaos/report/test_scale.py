"""Pages of large labs: few lanes for many hosts, and no file that a browser labours at."""

from __future__ import annotations

import pytest

from chaos.history import Record
from chaos.report.filling import MOST_DATA, data_line
from chaos.report.page import page
from chaos.report.shapes import Axis
from chaos.report.story import Story
from chaos.report.timeline import MOST_LANES, axis_of, select
from tests.chaos.report.tales import directory, plan, story, verdict

HOSTS = 1000


def blackout(hosts: int, *, slow: int = 0) -> Story:
    """Every host loses its power and boots, and its two VMs run again; ``slow`` ones boot for
    5 s longer."""
    names = [f"esxi-{n:04d}" for n in range(hosts)]
    rows: list[tuple[float, str, str, str, dict[str, object]]] = []

    def state(t: float, node: str, op: str, **data: object) -> None:
        rows.append((t, node, "state", op, data))

    def up(t: float, host: str, boot: int) -> None:
        told = {"key": "p/h", "mode": "TPM", "persistence": True, "maintenance": False}
        state(t, host, "host", boot=boot, crypto="safe", **told)
        for n in (1, 2):
            power = {"power": "poweredOn", "wanted": "poweredOn", "crypto": "unlocked"}
            vm = {"host": host, "boot": boot, "keys": [f"p/{host}-{n}"], "missing": [], **power}
            state(t, f"{host}-vm-{n}", "vm", **vm)

    provider = {"name": "p", "type": "vCenter", "servers": ["kms"], "default": True}
    state(
        0.0,
        "",
        "staging",
        vcenters=["vcenter"],
        clusters=dict.fromkeys(names, "c"),
        secure_boot=dict.fromkeys(names, True),
        providers=[provider],
        knobs={},
    )
    for node in ("vcenter", "kms"):
        state(0.0, node, "node", state="running", boot=1)
    for host in names:
        state(0.0, host, "node", state="running", boot=1)
    for host in names:
        up(1.0, host, 1)
    state(2.0, "", "look", hosts=hosts)
    values: dict[str, object] = {"id": "dark", "kind": "host.power_loss", "nodes": names}
    rows.append((50.0, "", "note", "inject", {"id": "dark", "values": values}))
    data: dict[str, object] = {"id": "dark", "summary": "dark", "nodes": names, "values": values}
    rows.append((50.0, "", "fault", "host.power_loss", data))
    for host in names:
        state(51.0, host, "node", state="off", boot=1)
    rows.append((60.0, "", "heal", "heal", {"id": "dark", "verified": True}))
    for late, some in ((0.0, names[slow:]), (5.0, names[:slow])):
        for host in some:
            state(61.0 + late, host, "node", state="booting", boot=2)
        for host in some:
            state(80.0 + late, host, "node", state="running", boot=2)
        for host in some:
            up(80.0 + late, host, 2)
    for n in range(10):
        state(101.0 + n, "", "look", hosts=hosts)
    records = [
        Record(seq=seq, t=t, node=node, type=type, op=op, data=dict(data))
        for seq, (t, node, type, op, data) in enumerate(rows, start=1)
    ]
    return story(records, verdict(), plan=plan(), directory=directory(hosts, 2 * hosts))


def axis(run: Story) -> Axis:
    return axis_of(run.drawn)


def test_hosts_that_went_the_same_way_are_one_and_the_others_another() -> None:
    run = blackout(200, slow=7)
    found = select(run.lanes, frozenset(), axis(run))
    hosts = [lane.name for lane in found.lanes if not lane.vm]
    assert found.alike == {"esxi-0000": 6, "esxi-0007": 192}
    assert hosts == ["esxi-0000", "esxi-0007"]
    assert "+n: so many more hosts went the same way (198 in all)" in found.told


def test_a_host_of_a_violation_stands_for_itself() -> None:
    run = blackout(200)
    found = select(run.lanes, frozenset({"esxi-0150-vm-2"}), axis(run))
    assert [lane.name for lane in found.lanes if not lane.vm] == ["esxi-0000", "esxi-0150"]
    assert found.alike == {"esxi-0000": 198}


def test_of_many_that_stand_for_themselves_so_many_are_drawn_and_the_rest_is_counted() -> None:
    run = blackout(200)
    pinned = frozenset(lane.name for lane in run.lanes)
    found = select(run.lanes, pinned, axis(run))
    assert MOST_LANES <= len(found.lanes) < MOST_LANES + 3
    drawn = sum(not lane.vm for lane in found.lanes)
    assert found.told == f"{200 - drawn} more hosts are not drawn"


def test_a_small_lab_is_drawn_whole() -> None:
    run = blackout(20, slow=3)
    assert select(run.lanes, frozenset(), axis(run)).lanes == run.lanes


@pytest.mark.slow
def test_the_page_of_a_thousand_hosts_is_small() -> None:
    run = blackout(HOSTS, slow=30)
    text = page(run)
    assert len(text) < 3_000_000
    assert "esxi-0000 +29" in text and "esxi-0030 +969" in text
    assert "letters more" in text


def test_of_long_data_the_beginning_is_shown_and_how_much_there_is() -> None:
    assert data_line({"n": "x" * 10}) == "n: " + "x" * 10
    said = data_line({"n": "x" * 1000})
    assert said == "n: " + "x" * (MOST_DATA - 3) + f" … and {1003 - MOST_DATA} letters more"
