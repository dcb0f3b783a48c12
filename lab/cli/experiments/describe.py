"""``describe run``: describe a stored run, without a lab."""

from __future__ import annotations

from lab.cli.names import RunName
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, is_document, pairs, plain
from lab.schema.tables import moment


def describe_run(run: RunName, *, options: LabOptions = LAB_DEFAULTS) -> None:
    """Describe a stored run: faults, checks, verdict, and commands to continue with.

    keystead describe run edge-outage-reboot-sim-7
    keystead describe run edge-outage-reboot-sim-7 -o json
    """
    from chaos.checks import arrange
    from lab.local.stored.runs import describe

    answer = describe(run)
    if is_document(options.output):
        document(answer, options.output)
        return
    verdict = answer.verdict
    ended = answer.state if verdict is None else f"{verdict.verdict} (exit {verdict.exit_code})"
    lasted = "" if answer.seconds is None else f", {answer.seconds:g} s"
    pairs(
        [
            ("run", f"{run}, {moment(answer.began)}"),
            ("experiment", f"{answer.experiment}: {answer.title}"),
            ("how", f"{answer.mode}, seed {answer.seed}, tpm {answer.tpm or '-'}{lasted}"),
            *([("lab", f"{answer.hosts} hosts, {answer.vms} VMs")] if answer.hosts else []),
            ("replay of", answer.replay_of),
            ("fork of", f"{answer.fork_of} at {answer.fork_at:g} s" if answer.fork_of else ""),
            ("verdict", ended),
            ("problem", answer.problem),
            ("history", f"{answer.records} records in {answer.folder}"),
        ]
    )
    for fault in answer.faults:
        until = "not healed" if fault.ended is None else f"{fault.ended:.1f} s"
        plain(f"  {fault.began:.1f} s to {until}: {fault.error or fault.summary}")
    if verdict is not None:
        for reason in verdict.reasons if not verdict.checks else ():
            plain(f"  {reason}")
        plain("\nchecks:" if verdict.checks else "")
        shown, idle = arrange(verdict.checks, faulted=bool(answer.faults))
        for check in shown:
            plain(f"  {check.result:<8}{check.name}: {check.text}")
        if idle:
            plain(f"  nothing to judge for {', '.join(one.name for one in idle)}")
    for command in answer.examples:
        plain(f"try: {command}")
