"""Errors of experiments and faults: one id each, with what it means and what to do.

``keystead explain KS-CHAOS-nnn`` prints an entry of ``EXPLANATIONS``; ids are never reused.
0xx are about files and selectors, 1xx about faults, 2xx about a run.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Explanation(NamedTuple):
    """What an error id means: the kind of failure, why it happens, what to do, the exit code.

    The exit codes of ``KS-CHAOS`` ids follow from the id (``lab.schema.errors``).
    """

    title: str
    why: str
    fix: str
    exit_code: int = 1


EXPLANATIONS: Final[dict[str, Explanation]] = {
    "KS-CHAOS-001": Explanation(
        "The file is not valid YAML",
        "The parser stopped at the named place, and did not read the rest.",
        "Correct the indentation, quote or bracket at that place.",
    ),
    "KS-CHAOS-002": Explanation(
        "Unknown field",
        "The format has no such field here. It is refused, because an ignored field would"
        " make the experiment mean something else than it says.",
        "Remove it, or correct its spelling; `keystead chaos lint` names what is allowed.",
    ),
    "KS-CHAOS-003": Explanation(
        "A field is missing",
        "The experiment needs this field.",
        "Add the field.",
    ),
    "KS-CHAOS-004": Explanation(
        "A value has the wrong type or is out of range",
        "The value does not fit its field.",
        "Write a value as the message describes it.",
    ),
    "KS-CHAOS-005": Explanation(
        "A time without a unit",
        "Times need a unit, since 30 could be seconds, minutes or milliseconds.",
        "Write 250ms, 30s, 5m or 1h.",
    ),
    "KS-CHAOS-006": Explanation(
        "Not available",
        "This version does not have this part of the file format, and refuses it rather than"
        " ignoring it.",
        "Remove it, or express it in another way; `keystead explain entry` lists the forms.",
    ),
    "KS-CHAOS-007": Explanation(
        "The same name twice",
        "Keys of a map and ids of a schedule are unique; the second would hide the first.",
        "Rename or remove one of them.",
    ),
    "KS-CHAOS-008": Explanation(
        "A reference leads nowhere",
        "`after` names an id that is not in the schedule, or the references form a circle.",
        "Name the id of another fault of this schedule.",
    ),
    "KS-CHAOS-009": Explanation(
        "The file cannot be read",
        "It does not exist, may not be read, is larger than 1 MiB, or is not UTF-8.",
        "Check the path; `keystead chaos list` names the shipped experiments.",
    ),
    "KS-CHAOS-010": Explanation(
        "Nothing has that name",
        "A selector names a node, VM, role, site or cluster that is not in this lab.",
        "Use a name from `keystead get hosts` or `keystead get vms`; `keystead explain selector`"
        " lists all forms for nodes.",
    ),
    "KS-CHAOS-011": Explanation(
        "The selector cannot be read",
        "Selectors are names, `role:`, `site:`, `cluster:`, ranges such as esxi-[001-050],"
        " shares such as `25% of role:esxi`, or lists of these.",
        "Write it in one of these forms.",
    ),
    "KS-CHAOS-012": Explanation(
        "The blast radius is exceeded",
        "The plan would touch more nodes, or use an irreversible fault more often, than"
        " `guards.blast_radius` allows.",
        "Narrow the targets, or raise the budget in the file on purpose.",
    ),
    "KS-CHAOS-013": Explanation(
        "The schedule does not fit its time limit",
        "A fault starts or ends after `guards.max_duration`.",
        "Shorten the schedule or raise `guards.max_duration`.",
    ),
    "KS-CHAOS-014": Explanation(
        "Unknown fault, probe, operation or check",
        "Nothing has that name.",
        "Use one of the names in the message.",
    ),
    "KS-CHAOS-015": Explanation(
        "The lab does not fit the experiment",
        "`requires` asks for something that this lab does not have.",
        "Start a lab with the `topology` of the file, or relax `requires`.",
    ),
    "KS-CHAOS-016": Explanation(
        "The lab that the experiment asks for is not valid",
        "`topology` names no lab file, makes one invalid by its changes, or is not valid itself.",
        "Correct the value that the message names; lab files follow `keystead schema lab`.",
    ),
    "KS-CHAOS-017": Explanation(
        "No parameter has that name",
        "`${NAME}` in a value, or `--with NAME=VALUE`, names a parameter that the file's `with`"
        " does not declare with a default.",
        "Correct the name, or declare it: `with: {NAME: value}`.",
    ),
    "KS-CHAOS-018": Explanation(
        "No planted bug has that name",
        "`negative_control` must name a function of tests/mutations/bugs in the checkout; there is"
        " no such function, or the experiment has no negative control.",
        "Name a function of a module in tests/mutations/bugs, without its module.",
    ),
    "KS-CHAOS-019": Explanation(
        "The negative control differs from the file",
        "With the planted bug exactly the named checks and probes must fail: a check that does not"
        " fail proves nothing, and one more that fails shows that the bug does more.",
        "Correct `expect`, or choose a bug that these checks detect.",
    ),
    "KS-CHAOS-020": Explanation(
        "Two faults that overlap undo each other",
        "Both act on the power, the process or the same setting of one node at the same time, so"
        " the end of one would end the other.",
        "End the first before the second starts, or merge them.",
    ),
    "KS-CHAOS-021": Explanation(
        "A crash point needs the simulation",
        "Only the simulation can make something happen within a call of a node; on real processes"
        " no command can name that moment.",
        "Play the experiment with `--mode sim`, or use `proc.kill` or `host.power_loss` at a time.",
    ),
    "KS-CHAOS-022": Explanation(
        "An experiment with a load cannot be shrunk",
        "The arrivals of a load are drawn together, and its figures cover all of them: without some"
        " of them it is another load.",
        "Take `load` out of the file, or write the operations that matter as a `workload`.",
    ),
    "KS-CHAOS-101": Explanation(
        "The fault did not bite",
        "It was injected, but its check did not see the effect, so it was healed. The result"
        " of an experiment whose fault never happened would prove nothing.",
        "See the message for what the check saw instead; check that the nodes are up.",
    ),
    "KS-CHAOS-102": Explanation(
        "The fault could not be injected",
        "The lab refused a step of the injection. The steps before it were undone.",
        "The message says what refused it; `keystead explain fault` lists the fault's conditions.",
    ),
    "KS-CHAOS-103": Explanation(
        "The fault is still there",
        "It was healed, but its check still sees it. It stays listed.",
        "Run `keystead heal --all` again; `keystead get faults` shows what the check sees.",
    ),
    "KS-CHAOS-104": Explanation(
        "No fault has that id",
        "It was healed already, its lease expired, or it never existed.",
        "List the faults with `keystead get faults`.",
    ),
    "KS-CHAOS-105": Explanation(
        "A fault has that id already",
        "Ids are unique in a lab.",
        "Choose another id, or heal the first.",
    ),
    "KS-CHAOS-106": Explanation(
        "The fault cannot act here",
        "What it needs is missing: no TPM in the host, no such key or provider, no default.",
        "See the message; choose another target.",
    ),
    "KS-CHAOS-107": Explanation(
        "The cure failed",
        "One of the administrator's steps failed. The fault stays listed.",
        "Do the steps by hand as `keystead get faults` prints them, or correct the cause.",
    ),
    "KS-CHAOS-108": Explanation(
        "The cure would lose keys in use",
        "Restoring the key server's disk would lose keys that were made after the fault and that"
        " VMs or hosts use now.",
        "Give those VMs another key first, or accept the fault.",
    ),
    "KS-CHAOS-109": Explanation(
        "The saved list of faults cannot be read",
        "The lab's state does not hold a list of faults that this version understands.",
        "Run the version that wrote it, or take the lab down with `keystead down --purge`.",
    ),
    "KS-CHAOS-110": Explanation(
        "An action did not end as required",
        "The file says `must: ok` or `must: fail` for an action, and it ended otherwise.",
        "See the message for the refusal; without `must` any outcome is a result.",
    ),
    "KS-CHAOS-201": Explanation(
        "The steady state was not met",
        "A hypothesis of `before` did not hold, so nothing was injected.",
        "Make the lab healthy first, or correct the hypothesis.",
    ),
    "KS-CHAOS-202": Explanation(
        "A lease expired during the run",
        "The engine stood still for longer than `guards.lease`, and the fault ended by itself.",
        "Raise `guards.lease`, or use a less busy machine.",
    ),
    "KS-CHAOS-203": Explanation(
        "The run took longer than allowed",
        "`guards.max_duration` ran out before the schedule ended; everything was healed.",
        "Raise `guards.max_duration` or shorten the schedule.",
    ),
    "KS-CHAOS-204": Explanation(
        "The history or the recording of the bus was altered",
        "A record was changed, removed or moved, or the end is missing.",
        "Do not trust verdicts from this file; run the experiment again.",
    ),
    "KS-CHAOS-206": Explanation(
        "The run could not be stored",
        "The disk refused its history or its verdict. The run continued and everything was healed,"
        " but its result cannot be examined again.",
        "Free space where the state folder is, then run the experiment again.",
    ),
    "KS-CHAOS-207": Explanation(
        "The run was aborted",
        "A condition of `guards.abort_if` held for the time that the file gives. Everything was"
        " healed, and nothing was judged.",
        "See the message for the measured value; repair the lab, or change the condition.",
    ),
    "KS-CHAOS-205": Explanation(
        "Something in the run reached outside the simulation",
        "A service used time, network, files or threads without its ports. The run proves nothing.",
        "Correct the service; the message names what it used.",
    ),
}


class ChaosError(Exception):
    """An error with an id of ``EXPLANATIONS``; ``text`` says what happened this time."""

    def __init__(self, id: str, text: str) -> None:
        self.explanation = EXPLANATIONS[id]
        self.id = id
        self.text = text
        super().__init__(f"{id}: {text}")

    def __reduce__(self) -> tuple[type[ChaosError], tuple[str, str]]:
        """Pickle id and text, so that the error can leave a worker process."""
        return ChaosError, (self.id, self.text)

    @property
    def fix(self) -> str:
        """What to do about it."""
        return self.explanation.fix
