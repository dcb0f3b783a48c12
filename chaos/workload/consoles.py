"""The console of a host: commands of esxcli that read, in each form, and wrong ones."""

from __future__ import annotations

import json
from typing import Any, Final

from chaos.observe.look import LabLook
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from protocol.messages.host.session import Esxcli, EsxcliResult
from protocol.terms import NodeName, PowerState, VmName

_VMS: Final = ("vm", "process", "list")
READS: Final[tuple[tuple[str, ...], ...]] = (
    ("system", "version", "get"),
    ("system", "settings", "encryption", "get"),
    ("system", "security", "keypersistence", "get"),
    _VMS,
)
REFUSED: Final[tuple[tuple[str, ...], ...]] = (
    ("--formatter=table", *_VMS),
    ("--formatter",),
    (*_VMS, "--all"),
    ("vm", "process", "lst"),
)
"""An unknown form, none, an unknown option, and an unknown command."""
_FORMS: Final = (("--formatter=json",), ("--formatter", "json"))


async def _read_console(means: Means, arrival: Arrival) -> OperationOutcome:
    """What it prints is the same in each form; it lists the VMs that run."""
    seen = await LabLook(means.lab).vms()
    if arrival.target not in seen:
        return OperationOutcome("fail", {"error": "no host answers for it"})
    host = seen[VmName(arrival.target)][0]
    about: dict[str, Any] = {"host": str(host)}
    for words in READS:
        before = await _running(means, host)
        said = [await _say(means, host, *form, *words) for form in ((), *_FORMS)]
        command = " ".join(words)
        if failed := [one.output for one in said if one.exit_code]:
            return OperationOutcome("ok", {**about, "wrong": f"{command}: {failed[0]}"})
        wrong = differs(said[0].output, said[1].output, said[2].output)
        if not wrong and words == _VMS and before == await _running(means, host):
            listed = sorted(one["DisplayName"] for one in json.loads(said[1].output))
            wrong = "" if listed == before else f"{listed} run, and the host says {before}"
        if wrong:
            return OperationOutcome("ok", {**about, "wrong": f"{command}: {wrong}"})
    for words in REFUSED:
        if not (await _say(means, host, *words)).exit_code:
            return OperationOutcome("ok", {**about, "wrong": f"{' '.join(words)} is not refused"})
    return OperationOutcome("ok", about)


async def _say(means: Means, host: NodeName, *words: str) -> EsxcliResult:
    return await means.lab.ask(host, Esxcli(arguments=words), within_s=WITHIN_S)


async def _running(means: Means, host: NodeName) -> list[str]:
    """VMs that the host says it runs."""
    summary = (await LabLook(means.lab).hosts()).get(host)
    vms = () if summary is None else summary.vms
    return sorted(str(vm.vm) for vm in vms if vm.power is PowerState.ON)


def differs(plain: str, first: str, second: str) -> str:
    """How the text of a command, and its JSON by either spelling of the option, do not agree."""
    try:
        data, other = json.loads(first), json.loads(second)
    except ValueError:
        return f"it is no JSON: {first[:60]}"
    if data != other:
        return "the option is read in one of two spellings"
    rows = data if isinstance(data, list) else [data]
    values = [value for row in rows for value in row.values()]
    texts = [json.dumps(value) if isinstance(value, bool) else str(value) for value in values]
    missing = [text for text in texts if text not in plain]
    return f"its text lacks {missing[0]}" if missing else ""


OPERATIONS: Final = (
    WorkloadOperation(
        "host.console",
        "vms",
        "read at the console of a VM's host in each form, and be refused what it has not",
        _read_console,
    ),
)
