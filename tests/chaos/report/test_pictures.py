"""Pictures of a run: everything in its place, by arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks.result import CheckOutcome
from chaos.history import Record
from chaos.report.outcomes import outcomes
from chaos.report.plots import MOST_DOTS, hypotheses_plot, latency_plot, work_plots
from chaos.report.shapes import Axis, Picture, Pin, Rect, ShapeLine, Text, moment, shorten, span
from chaos.report.story import Story
from chaos.report.timeline import LEFT, MOST_LANES, RIGHT, timeline
from chaos.report.topology import MOST_HOSTS, topology
from tests.chaos.oracle.histories import Story as History
from tests.chaos.oracle.histories import dark
from tests.chaos.report.tales import Tale, directory, result, story, verdict

FAIL = CheckOutcome.FAIL


def told(history: History, *checks: tuple[str, int]) -> Story:
    """The run of this history, with failed checks and the record that each rests on."""
    records = [
        Record(seq=n, t=float(n), node=node, type=type, op=op, data=data)
        for n, (node, type, op, data) in enumerate(history.rows, start=1)
    ]
    said = verdict(*(result(name, FAIL, "bad", seq) for name, seq in checks), word="fail", code=1)
    return story(records, said)


def drawn(run: Story) -> Picture:
    return timeline(run, outcomes(run))


def locked() -> History:
    history = dark(persistence=False).host("esxi-001", "prepared")
    return history.vm("vm-01", "esxi-001", "locked").passes(60).heal("wan").passes(20)


def rects(picture: Picture, look: str) -> list[Rect]:
    return [s for s in picture.shapes if isinstance(s, Rect) and look in s.look.split()]


def texts(picture: Picture, look: str) -> list[Text]:
    return [s for s in picture.shapes if isinstance(s, Text) and s.look == look]


# ---- axis ----------------------------------------------------------------------------------


def test_moments_lie_between_the_edges() -> None:
    axis = Axis(100.0, 150.0, 1150.0)
    assert [axis.x(t) for t in (-5.0, 0.0, 50.0, 100.0, 1e9)] == [150, 150, 650, 1150, 1150]


@pytest.mark.parametrize("seconds", [0.01, 0.9, 7.0, 59.0, 389.0, 3600.0, 86_400.0, 1e7])
def test_ticks_are_round_and_not_too_many(seconds: float) -> None:
    ticks = Axis(seconds, 0.0, 1.0).ticks()
    assert 1 <= len(ticks) <= 12
    assert all(0 <= t <= seconds * (1 + 1e-9) for t, _ in ticks)
    assert len({name for _, name in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("t", "name"),
    [(0, "0 s"), (0.4, "0.4 s"), (35, "35 s"), (125, "2:05"), (3600, "1:00:00"), (60.0, "1:00")],
)
def test_a_moment_is_told_as_people_tell_it(t: float, name: str) -> None:
    assert moment(t) == name


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        (0.0, "0 µs"),
        (2e-6, "2 µs"),
        (0.00142, "1.42 ms"),
        (0.25, "250 ms"),
        (12.0, "12 s"),
        (4000.0, "4000 s"),
    ],
)
def test_how_long_it_took_has_three_digits_and_a_unit(seconds: float, name: str) -> None:
    assert span(seconds) == name


def test_a_label_is_cut_to_its_room() -> None:
    assert shorten("esxi-001", 100.0) == "esxi-001"
    assert shorten("esxi-001 and more", 50.0) == "esxi-00…"
    assert shorten("esxi-001", 12.0) == ""


# ---- timeline ------------------------------------------------------------------------------


def test_nothing_leaves_the_picture_or_is_turned_inside_out() -> None:
    picture = drawn(told(locked(), ("guests_read_back", 70)))
    for shape in picture.shapes:
        assert 0 <= shape.x <= picture.width and 0 <= shape.y <= picture.height
        if isinstance(shape, Rect):
            assert shape.w >= 0 and shape.h >= 0
            assert shape.x + shape.w <= picture.width and shape.y + shape.h <= picture.height


def test_every_lane_is_drawn_with_its_states_by_colour_sign_and_word() -> None:
    picture = drawn(told(locked()))
    assert [t.text for t in texts(picture, "host-name")] == ["esxi-001", "esxi-002"]
    assert [t.text for t in texts(picture, "vm-name")] == ["vm-01", "vm-02"]
    assert len(rects(picture, "s-locked")) > 1  # seen, and allowed
    assert [t.text for t in texts(picture, "state t-locked")] == ["✕ locked"]
    (seen,) = [r for r in rects(picture, "s") if "s-locked" in r.look]
    assert "vm-01 was locked" in seen.tip and seen.href == f"#r{_locked_at(locked())}"


def _locked_at(history: History) -> int:
    return next(n for n, row in enumerate(history.rows, 1) if row[3].get("crypto") == "locked")


def test_a_lane_covers_the_axis_once() -> None:
    picture = drawn(told(locked()))
    (y,) = {r.y for r in rects(picture, "s") if "vm-02" in r.tip}
    row = sorted((r.x, r.w) for r in rects(picture, "s") if r.y == y)
    assert row[-1][0] + row[-1][1] == pytest.approx(RIGHT, abs=0.5)
    ends = [x + w for x, w in row]
    assert [x for x, _ in row[1:]] == pytest.approx(ends[:-1], abs=0.5)


def test_bars_of_faults_that_meet_stand_below_each_other() -> None:
    picture = drawn(told(locked()))
    wan, dark_ = rects(picture, "fault")
    assert wan.y != dark_.y and wan.x < dark_.x and "link.cut" in wan.tip
    begins = [n for n, row in enumerate(locked().rows, 1) if row[1] == "fault"]
    assert [wan.href, dark_.href] == [f"#r{n}" for n in begins]
    assert LEFT < wan.x < wan.x + wan.w <= RIGHT
    bands = rects(picture, "band")
    assert len(bands) == 2 and all(band.h > 80 for band in bands)


def test_a_bar_begins_when_the_fault_was_done_with_a_mark_where_it_was_seen_to_bite() -> None:
    tale = Tale()
    tale.fault(30.0, "power", "host.power_loss", summary="power loss of esxi-001", began=30.0)
    tale.fault(73.0, "cut", summary="cut vcenter <-> kms", began=10.2)
    tale.add(100.0, "end")
    picture = drawn(story(tale.records, verdict()))
    cut, power = rects(picture, "fault")
    (mark,) = [shape for shape in picture.shapes if shape.look == "bite"]
    assert cut.x < power.x < mark.x < cut.x + cut.w
    assert "from 10.2 s, seen to bite at 1:13" in cut.tip
    assert "1:13" in mark.tip
    assert {t.text for look in ("fault-inside", "fault-label") for t in texts(picture, look)} == {
        "cut vcenter <-> kms",
        "power loss of esxi-001",
    }


def test_the_heal_has_its_line() -> None:
    picture = drawn(told(locked()))
    assert [t.text[:6] for t in texts(picture, "heal-label")] == ["healed"]


def test_a_violation_is_a_pin_above_and_one_in_its_lane_that_lead_to_its_record() -> None:
    at = _locked_at(locked())
    picture = drawn(told(locked(), ("guests_read_back", at), ("tpm_sane", 1)))
    pins = [shape for shape in picture.shapes if isinstance(shape, Pin)]
    assert [pin.href for pin in pins] == ["#r1", f"#r{at}", f"#r{at}"]
    lane = next(t for t in texts(picture, "vm-name") if t.text == "vm-01")
    assert abs(pins[2].y - lane.y) < 10 and pins[1].y < lane.y
    assert "guests_read_back" in pins[1].tip


def test_a_run_without_violations_has_no_room_for_them() -> None:
    picture = drawn(told(locked()))
    assert not texts(picture, "wrong-label")
    assert not [shape for shape in picture.shapes if isinstance(shape, Pin)]


def test_what_it_might_not_be_is_framed() -> None:
    history = dark(persistence=True).host("esxi-001", "prepared")
    picture = drawn(told(history.vm("vm-01", "esxi-001", "locked").passes(60)))
    assert any("vm-01 was locked where only running" in r.tip for r in rects(picture, "odd"))
    assert not rects(drawn(told(locked())), "odd")


def test_a_fault_that_could_not_be_made_is_a_mark_and_no_bar() -> None:
    history = History(persistence=True).fault("gone", "tpm.clear", error="KS-CHAOS-101: no")
    picture = drawn(told(history.passes(10)))
    assert not rects(picture, "fault") and not rects(picture, "band")
    (mark,) = texts(picture, "wrong-label")
    assert mark.text.startswith("✕") and "KS-CHAOS-101" in mark.tip


def many(hosts: int) -> Story:
    """So many hosts that only looked on, and one that booted."""
    tale = Tale()
    names = [f"esxi-{n:03d}" for n in range(1, hosts + 1)]
    staging: dict[str, Any] = {
        "clusters": dict.fromkeys(names, "c"),
        "secure_boot": {},
        "vcenters": ["vcenter"],
    }
    tale.add(0.0, "state", "staging", providers=[], **staging)
    for name in names:
        tale.add(0.0, "state", "node", name, state="running", boot=1)
    tale.add(5.0, "state", "node", names[0], state="off", boot=1)
    tale.add(10.0, "note", "end")
    return story(tale.records, verdict())


def test_of_a_large_lab_hosts_that_went_the_same_way_are_one_and_counted() -> None:
    small, large = drawn(many(MOST_LANES)), drawn(many(MOST_LANES + 1))
    assert len(texts(small, "host-name")) == MOST_LANES
    names = texts(large, "host-name")
    more = MOST_LANES - 1
    assert [t.text for t in names] == ["esxi-001", f"esxi-002 +{more}"]
    assert names[1].tip == f"esxi-002, and {more} hosts that went the same way"
    assert [t.text for t in texts(large, "quiet")] == [
        f"+n: so many more hosts went the same way ({more} in all)"
    ]


# ---- operations and hypotheses -------------------------------------------------------------


def test_slower_operations_stand_higher_and_failures_are_crosses() -> None:
    tale = Tale()
    tale.operation(1.0, "key.create", 0.01, 1)
    tale.operation(2.0, "key.create", 1.0, 2)
    tale.operation(3.0, "key.create", 0.1, 3, "fail")
    tale.operation(4.0, "key.create", 0.1, 4, "info")
    picture = latency_plot(story(tale.records, None))
    assert picture is not None
    fast, slow, ring = [s for s in picture.shapes if s.kind == "dot"]
    assert slow.y < fast.y and (fast.look, ring.look) == ("op-0", "ring")
    (cross,) = texts(picture, "cross")
    assert "fail after 100 ms" in cross.tip and cross.href == "#r5"


def test_of_very_many_operations_the_slowest_and_the_failed_are_drawn() -> None:
    tale = Tale()
    for n in range(MOST_DOTS + 500):
        tale.operation(n / 100, "key.create", 0.01, n)
    tale.operation(20.0, "key.create", 0.9, 9000)
    tale.operation(20.0, "key.create", 0.1, 9001, "fail")
    tale.records.sort(key=lambda record: record.t)
    picture = latency_plot(story(tale.records, None))
    assert picture is not None
    tips = [s.tip for s in picture.shapes if s.kind == "dot"]
    assert len(tips) < MOST_DOTS and any("900 ms" in tip for tip in tips)
    assert len(texts(picture, "cross")) == 1


@pytest.mark.parametrize(("pause", "joined"), [(1.0, True), (2.5, True), (2.6, False)])
def test_the_work_of_a_node_that_was_idle_begins_again_at_the_bottom(
    pause: float, joined: bool
) -> None:
    tale = Tale()
    for t in (10.0, 10.0 + pause):
        tale.add(t, "state", "work", nodes={"kms": (0.5, 1)}, host=(0.0, 0, ""))
    plots = work_plots(story(tale.records, None))
    assert plots is not None
    first, second = [s for s in plots[0].shapes if isinstance(s, ShapeLine) and s.look == "line-0"]
    assert first.y == plots[0].height - 18.0, "nothing was before"
    assert ((second.x, second.y) == (first.x2, first.y2)) is joined
    assert (second.y == first.y) is not joined


def test_each_measurement_is_a_dot_or_a_cross_in_the_row_of_its_hypothesis() -> None:
    tale = Tale()
    tale.add(0.0, "probe", "vm.running", when="before", holds=True, value=1.0, detail="all 2")
    tale.add(5.0, "probe", "vm.running", when="during", holds=False, value=0.0, detail="not: vm-01")
    tale.add(6.0, "probe", "vm.running", when="during", holds=True, value=1.0, detail="all 2")
    picture = hypotheses_plot(story(tale.records, None))
    assert picture is not None
    assert [t.text for t in texts(picture, "vm-name")] == ["before vm.running", "during vm.running"]
    (cross,) = texts(picture, "cross")
    assert "not: vm-01" in cross.tip and len([s for s in picture.shapes if s.kind == "dot"]) == 2


def test_a_run_that_did_nothing_has_no_plots() -> None:
    assert latency_plot(story((), None)) is None and hypotheses_plot(story((), None)) is None


# ---- the lab -------------------------------------------------------------------------------


def lab(hosts: int, **fault: Any) -> Picture:
    tale = Tale()
    if fault:
        tale.fault(1.0, "wan", **fault)
    return topology(story(tale.records, None, directory=directory(hosts=hosts)))


def test_each_site_is_a_frame_with_all_that_is_in_it() -> None:
    picture = lab(6)
    main, edge = rects(picture, "site")
    assert main.x + main.w <= edge.x and main.h == edge.h
    hosts, servers = rects(picture, "host"), rects(picture, "server")
    assert len(hosts) == 6 and len(servers) == 2
    for boxes, frame in ((servers, main), (hosts, edge)):
        for box in boxes:
            assert frame.x <= box.x and box.x + box.w <= frame.x + frame.w
            assert frame.y <= box.y and box.y + box.h <= frame.y + frame.h
    assert len({(box.x, box.y) for box in hosts}) == 6


def test_a_link_is_broken_between_the_sides_of_the_fault_only() -> None:
    sides = {"a": ["esxi-001"], "b": ["kms"]}
    picture = lab(2, nodes=["esxi-001", "kms"], values=sides)
    links = {s.tip.split("\n")[0]: s.look for s in picture.shapes if s.kind == "line"}
    assert links == {
        "kms – vcenter": "link",
        "kms – cluster-a": "link-broken",
        "vcenter – cluster-a": "link",
    }
    (cut,) = texts(picture, "cut")
    boxes = (*rects(picture, "server"), *rects(picture, "cluster"))
    assert not any(b.x <= cut.x <= b.x + b.w and b.y <= cut.y <= b.y + b.h for b in boxes)
    struck = {r.tip for r in rects(picture, "struck")}
    assert struck == {"esxi-001: touched by a fault", "key server kms: touched by a fault"}


def test_hosts_of_a_large_cluster_are_counted() -> None:
    picture = lab(MOST_HOSTS + 1, kind="host.power_loss", nodes=["esxi-001", "esxi-002"])
    assert not rects(picture, "host")
    assert any(t.text == "2 of them under faults" for t in texts(picture, "label"))
