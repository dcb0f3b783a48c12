"""Every error of a file in one pass, each at its line and column, with an id and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import EXPLANATIONS
from chaos.experiment.lint import BadExperiment, check_experiment, read_experiment
from chaos.yaml_file import YamlFlaw, read_yaml

SHIPPED = sorted((Path(__file__).parents[2] / "chaos" / "experiments").glob("*.yaml"))
GOOD = """\
apiVersion: keystead/v1
kind: Experiment
name: small
title: A small one
topology: {use: default}
checks: {add: [needs_no_kms]}
schedule:
  - {id: wan, at: 10s, for: 1m, fault: link.cut, between: [vcenter, kms]}
"""


def problems(text: str) -> list[tuple[int, str, str]]:
    """(line, id, text) of each problem; empty for a good file."""
    try:
        check_experiment(text, "x.yaml")
    except BadExperiment as error:
        return [(p.place.line, p.id, p.text) for p in error.problems]
    return []


def load(more: str) -> str:
    return f"workload: [{{op: key.create, {more}}}]\n"


def probes(when: str, more: str) -> str:
    return f"hypothesis: {{{when}: [{{probe: vm.running, is: '>= 1', {more}}}]}}\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_files_are_good_and_say_what_they_are(path: Path) -> None:
    found = read_experiment(path)
    assert found.heading.name == path.stem
    assert found.text.startswith("# ") and "\n# What must hold: " in found.text
    assert "Negative control" in found.text


def test_there_are_shipped_files() -> None:
    assert {"edge-outage-reboot", "sc-01-site-power-loss-kms-away"} <= {p.stem for p in SHIPPED}


def test_a_good_file() -> None:
    assert problems(GOOD) == []


MANY_ERRORS = """\
apiVersion: keystead/v2
kind: Experiment
nam: small
title: ""
topology: {use: edge, wiht: {hosts: 8}}
requires: {persistence: maybe, hosts: -1}
workload:
  - {op: vm.power_cicle, rate: 0.2/s}
  - {op: key.create, rate: 5}
hypothesis:
  before:
    - {probe: vm.runing, is: "== 100%"}
    - {probe: vm.running, is: "fast"}
    - {probe: vm.running, is: "< 250ms"}
    - {probe: vm.kms_calls, is: "== 0"}
  sometimes: [host.unsealed_from_store]
  recover: {within: 60}
guards:
  max_duration: 10
  blast_radius: {hostss: 1, kms: many}
  abort_if: []
schedule:
  - {id: wan, at: 30, for: 300s, fault: link.cut, between: [vcenter, kms]}
  - {id: wan, at: 30s, fault: link.cutt, between: [vcenter, kms]}
  - {id: b, after: wann + 20s, fault: host.power_loss, on: esxi-001}
  - {id: c, fault: host.reboot, onn: esxi-001}
  - {when: {event: kms.put.ok}, fault: proc.kill}
  - random: {from: 60s}
  - {id: d, at: 1s, fault: tpm.clear, on: esxi-001}
  - {id: e, at: 1s, fault: link.delay, between: [vcenter, kms], base: 3}
  - {id: f, after: g, fault: vcenter.down}
  - {id: g, after: f + 1s, fault: vcenter.down}
final: {heal: all, then: rest}
negative_control: {disable: x}
checks: {add: [boot_storm_fare]}
"""


def test_every_error_is_told_at_once_with_its_line() -> None:
    found = problems(MANY_ERRORS)
    assert [(line, id) for line, id, _ in found] == [
        (1, "KS-CHAOS-003"),
        (1, "KS-CHAOS-004"),
        (3, "KS-CHAOS-002"),
        (4, "KS-CHAOS-004"),
        (5, "KS-CHAOS-002"),
        (6, "KS-CHAOS-004"),
        (6, "KS-CHAOS-004"),
        (8, "KS-CHAOS-014"),
        (9, "KS-CHAOS-004"),
        (12, "KS-CHAOS-014"),
        (13, "KS-CHAOS-004"),
        (14, "KS-CHAOS-004"),
        (15, "KS-CHAOS-004"),
        (16, "KS-CHAOS-006"),
        (17, "KS-CHAOS-005"),
        (19, "KS-CHAOS-005"),
        (23, "KS-CHAOS-005"),
        (24, "KS-CHAOS-014"),
        (25, "KS-CHAOS-008"),
        (26, "KS-CHAOS-003"),
        (26, "KS-CHAOS-003"),
        (26, "KS-CHAOS-002"),
        (27, "KS-CHAOS-003"),
        (27, "KS-CHAOS-014"),
        (28, "KS-CHAOS-003"),
        (30, "KS-CHAOS-005"),
        (31, "KS-CHAOS-008"),
        (32, "KS-CHAOS-008"),
        (33, "KS-CHAOS-002"),
        (34, "KS-CHAOS-003"),
        (35, "KS-CHAOS-014"),
    ]
    told = "\n".join(text for *_, text in found)
    for hint in ("name", "with", "vm.power_cycle", "vm.running", "link.cut", "write 30s or 30m"):
        assert hint in told


def test_budgets_are_looked_at_once_the_guards_are_readable() -> None:
    text = GOOD + "  - {at: 1s, fault: tpm.clear, on: esxi-001}\nguards: {blast_radius: {x: y}}\n"
    assert [(line, id) for line, id, _ in problems(text)] == [
        (9, "KS-CHAOS-012"),
        (10, "KS-CHAOS-004"),
        (10, "KS-CHAOS-014"),
    ]
    allowed = GOOD + (
        "  - {at: 1s, fault: tpm.clear, on: esxi-001}\nguards: {blast_radius: {tpm.clear: 1}}\n"
    )
    assert problems(allowed) == []


@pytest.mark.parametrize(
    ("text", "line", "id"),
    [
        ("", 1, "KS-CHAOS-001"),
        ("a: [1, 2", 1, "KS-CHAOS-001"),
        ("a: 1\n b: 2\n", 2, "KS-CHAOS-001"),
        ("a: 1\n\tb: 2\n", 2, "KS-CHAOS-001"),
        ("a: &x 1\nb: *x\n", 2, "KS-CHAOS-006"),
        ("a: 1\n---\nb: 2\n", 2, "KS-CHAOS-001"),
        ("[1, 2]", 1, "KS-CHAOS-004"),
        ("null", 1, "KS-CHAOS-004"),
        ("a: !!python/object:os.system x\n", 1, "KS-CHAOS-001"),
        ("a: " + "[" * 3000 + "]" * 3000, 1, "KS-CHAOS-001"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", 1, "KS-CHAOS-001"),
        ("a: \x00\n", 1, "KS-CHAOS-001"),
        ("x: " + "y" * (1 << 20), 1, "KS-CHAOS-009"),
    ],
)
def test_text_that_is_no_experiment(text: str, line: int, id: str) -> None:
    found = problems(text)
    assert (found[0][0], found[0][1]) == (line, id)


def test_a_key_twice_is_told_where_the_second_stands() -> None:
    found = problems(GOOD + "title: Again\n")
    assert [(line, id) for line, id, _ in found] == [(9, "KS-CHAOS-007")]


def test_on_and_off_are_words_here() -> None:
    text = GOOD + "requires: {persistence: on}\n" + "hypothesis: {recover: {within: 1m}}\n"
    assert check_experiment(text, "x.yaml").requires.persistence is True
    step = GOOD.replace("link.cut, between: [vcenter, kms]", "host.power_loss, on: esxi-001")
    assert check_experiment(step, "x.yaml").schedule[0].params.on == "esxi-001"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("checks: {add: [needs_no_kms]}\n", ""), "there is nothing to hold"),
        (GOOD.replace("[needs_no_kms]", "[]"), "there is nothing to hold"),
        (GOOD + "seed: -1\n", "seed: a whole number from 0"),
        (GOOD + "seed: true\n", "or: random"),
        (GOOD + "duration: 0s\n", "duration: at least 1s"),
        (GOOD + "guards: {lease: 10ms}\n", "lease: at least 1s"),
        (GOOD + "guards: {max_duration: 0s}\n", "max_duration: at least 1s"),
        (GOOD + "guards: {blast_radius: {hosts: ٣}}\n", "is no number, nor a share"),
        (GOOD + "guards: {blast_radius: {hosts: '²'}}\n", "is no number, nor a share"),
        (GOOD + "requires: {hosts: '>=٣'}\n", "hosts: "),
        (GOOD.replace("10s", "١٠s"), "no time: write 250ms, 30s, 5m or 1h"),
        (GOOD.replace("1m", '"1m\\n\\n"') + "x: 1\n", "unknown field 'x'"),
        (GOOD.replace("id: wan", "id: 'wan\n\n  '") + "x: 1\n", "unknown field 'x'"),
        (GOOD.replace("id: wan", 'id: "w\\e[31m"'), r"'w\x1b[31m' is no id of a fault"),
        (GOOD.replace("small", "../small"), "'../small' is no name of an experiment"),
        (GOOD + probes("during", "from: 20s, until: 10s"), "`until` lies before `from`"),
        (GOOD + probes("during", "after: end of wan"), "`after` and `for` go together"),
        (GOOD + probes("during", "for: 5s"), "`after` and `for` go together"),
        (GOOD + probes("during", "after: wan, for: 5s, from: 1s"), "`from` is a time of the run"),
        (GOOD + probes("during", "after: lan, for: 5s"), "there is no entry 'lan'"),
        (GOOD + probes("before", "after: wan, for: 5s"), "`after` belongs to probes of `during`"),
        (GOOD + probes("during", "every: 1ms"), "every: at least 0.1s"),
        (GOOD + probes("during", "within: 1s"), "`within` belongs to probes of `before`"),
        (GOOD + probes("after", "grace: 1s"), "`grace` belongs to probes of `during`"),
        (GOOD + probes("before", "until: 1s"), "`until` belongs to probes of `during`"),
        (GOOD + probes("after", "op: key.create"), "vm.running takes no `op`"),
        (GOOD + load("at: 1s, rate: 1/s"), "give either `rate` or `at`"),
        (GOOD + load("from: 1s"), "give either `rate` or `at`"),
        (GOOD + load("at: 1s, from: 0s"), "`from` and `until` belong to a `rate`"),
        (GOOD + load("at: 1s, until: 2s"), "`from` and `until` belong to a `rate`"),
        (GOOD + f"seed: {'9' * 5001}\n", "a whole number of 5001 characters is too long"),
        (GOOD + f"seed: {1 << 64}\n", "has more than 64 bits"),
        (GOOD + "  - {at: 1s}\n" * 1001, "1002 entries are more than 1000"),
        (GOOD.replace("kms]", "kms], " + ", ".join(f"k{n}: 1" for n in range(2000))), "unknown"),
    ],
)  # fmt: skip
def test_what_a_file_says_is_meant(text: str, said: str) -> None:
    assert any(said in told for *_, told in problems(text)), problems(text)
    assert len(problems(text)) <= 100


@pytest.mark.parametrize("more", ["at: 1s", "rate: 1/s", "rate: 1/s, from: 1s, until: 9s"])
def test_a_load_at_a_moment_or_at_a_rate_is_read(more: str) -> None:
    assert problems(GOOD + load(more)) == []


def test_a_long_chain_of_faults_is_read() -> None:
    text = GOOD + "".join(
        f"  - {{id: f{n}, after: {f'f{n - 1}' if n else 'wan'} + 1s, fault: broker.restart}}\n"
        for n in range(900)
    )
    assert problems(text) == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadExperiment) as caught:
        read_experiment(tmp_path / "none.yaml")
    assert caught.value.problems[0].id == "KS-CHAOS-009"
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadExperiment):
        read_experiment(tmp_path / "bytes.yaml")


def test_a_problem_reads_as_file_line_column_id_and_fix() -> None:
    with pytest.raises(BadExperiment) as caught:
        check_experiment(GOOD.replace("10s", "10"), "x.yaml")
    assert str(caught.value.problems[0]).startswith("x.yaml:8:15: KS-CHAOS-005: at: a time needs")
    assert "fix: Write 250ms" in str(caught.value.problems[0])


def test_the_catalogue_is_complete() -> None:
    for id, entry in EXPLANATIONS.items():
        assert id.startswith("KS-CHAOS-")
        assert all((entry.title, entry.why, entry.fix))


def test_the_size_of_a_file_is_that_of_its_bytes() -> None:
    fits, over = "a: " + "é" * ((1 << 19) - 2), "a: " + "é" * (1 << 19)
    assert len(fits.encode()) < (1 << 20) < len(over.encode()) and len(over) < (1 << 20)
    assert read_yaml(fits).problems == []
    assert [problem.flaw for problem in read_yaml(over).problems] == [YamlFlaw.TOO_LARGE]


@pytest.mark.parametrize(
    ("after", "words"),
    [("nobody + 5s", "no entry 'nobody' in this schedule"), ("wan", "begins after itself")],
)
def test_a_wrong_reference_alone_names_the_file(after: str, words: str) -> None:
    text = f"""
apiVersion: keystead/v1
kind: Experiment
name: alone
title: One entry, and a reference that leads nowhere
topology: {{use: default}}
hypothesis: {{after: [{{probe: vm.running, is: "== 100%"}}]}}
schedule: [{{id: wan, after: {after}, for: 5s, fault: link.cut, between: [vcenter, kms]}}]
"""
    with pytest.raises(BadExperiment, match=words) as caught:
        check_experiment(text, "alone.yaml")
    assert caught.value.id == "KS-CHAOS-008"
