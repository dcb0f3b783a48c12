"""No host opens its sealed configuration with another TPM, a cleared TPM, or other values of the
PCRs in its sealing policy than when it was sealed (CFG-05, REC-05).

A boot that serves has opened it. The TPM is read at the lab's side. A recovery key, which the
cure of a fault enters, seals anew; until then each boot must stop at its screen. A host that is
installed anew has another configuration, of which its first boot seals the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.faults import EFFECTS
from chaos.history import Record
from chaos.oracle.effects import NOTHING, Takes

SEALING_PCRS: Final = ("7",)  # of the default policy, knob seal_pcrs
INSTALLS: Final = "host.reinstall"


def no_unseal_under_changed_pcr(records: Sequence[Record]) -> Finding:
    """Pass when each boot that serves had the TPM and PCRs of the sealing. Unknown when no host
    with a sealed configuration booted again.

    ``protection`` states name the sealed hosts, ``tpm`` states have the TPM of each boot. A TPM
    that died while its host ran shows no PCRs, which proves nothing about the boot before.
    """
    sealed: dict[str, tuple[Any, ...]] = {}  # host -> TPM and PCRs at the sealing
    wanted: set[str] = set()
    cured: set[str] = set()  # hosts whose next boot may have been given the recovery key
    curing: dict[str, set[str]] = {}  # cure that is under way -> its hosts that did not boot yet
    touched: dict[str, tuple[str, ...]] = {}  # fault -> hosts
    dead: dict[str, bool] = {}  # hosts whose TPM has died, and whether they were off since
    boots, bad = 0, list[tuple[int, str]]()
    for record in records:
        data = record.data
        if record.type == "state" and record.op == "protection" and data.get("sealed"):
            wanted.add(record.node)
        elif record.type == "invoke" and record.op == INSTALLS:
            sealed.pop(record.node, None)
        elif record.type == "fault" and "error" not in data:
            touched[str(data.get("id"))] = tuple(data.get("nodes", ()))
            takes = EFFECTS.get(record.op, NOTHING).takes
            if Takes.TPM in takes:  # no TPM has what unseals it any more
                sealed |= {host: () for host in data.get("nodes", ()) if host in sealed}
            if Takes.NEXT_TPM in takes:
                dead |= dict.fromkeys(data.get("nodes", ()), False)
        elif record.type == "state" and record.op == "node" and record.node in dead:
            dead[record.node] |= data.get("state") == "off"
        elif record.type == "note" and record.op == "ending" and data.get("cure"):
            curing[str(data.get("id"))] = set(touched.get(str(data.get("id")), ()))
        elif record.type == "heal" and data.get("cured") and data.get("verified"):
            id = str(data.get("id"))
            cured.update(curing.pop(id, touched.get(id, ())))
        elif record.type == "state" and record.op == "tpm" and record.node in wanted:
            if not data.get("pcrs") and dead.get(record.node) is False:
                continue
            now = _identity(data)
            before = sealed.get(record.node, now)
            boots += record.node in sealed
            if not data.get("serves"):
                continue
            given = [those for those in curing.values() if record.node in those]
            if before != now and record.node not in cured and not given:
                bad.append((record.seq, f"{record.node} (boot {data.get('boot')})"))
            sealed[record.node] = now
            cured.discard(record.node)
            for those in given:
                those.discard(record.node)
    if bad:
        hosts = ", ".join(host for _, host in bad)
        text = f"opened though TPM or PCRs are not those of the sealing: {hosts}"
        return Finding(CheckOutcome.FAIL, text, tuple(seq for seq, _ in bad))
    if not boots:
        return Finding(CheckOutcome.UNKNOWN, "no host with a sealed configuration booted again")
    return Finding(CheckOutcome.PASS, f"{boots} boots, each as it was sealed or stopped")


def _identity(data: Mapping[str, Any]) -> tuple[Any, ...]:
    pcrs = data.get("pcrs", {})
    return (data.get("ek"), *(pcrs.get(number) for number in SEALING_PCRS))
