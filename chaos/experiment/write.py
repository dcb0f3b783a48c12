"""Experiment files that keystead writes: a plan as a file, which is the same plan when it is read
again, and a new file with a comment on each part, which is without errors as it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from chaos.experiment.model import Guards
from chaos.experiment.plan import Begun, Cue, Ended, Plan, PlannedAction, PlannedFault, PlannedProbe
from chaos.fields import format_s
from chaos.load.planned import PlannedLoad
from chaos.points import Strike

_TEXT: Final = """\
# What this experiment is about, in a sentence or two.
#
# What must hold: ...
apiVersion: keystead/v1
kind: Experiment
name: {name}
title: What is tried, in one line
seed: 7                      # or: random
with: {{cut: 60s}}             # parameters: "${{cut}}" below; chaos run --with cut=90s

# The lab: `keystead explain knob` tells what else can be changed.
topology: {{use: default, with: {{hosts: 3, vms: 4, key_persistence: true}}}}
requires: {{provider: standard, tpm: any, hosts: ">=1"}}

# Operations that come whatever the answers are: `keystead explain op`.
workload:
  - {{op: guest.challenge, rate: 0.2/s}}
  - {{op: key.create, rate: 2/m}}

# What must hold: `keystead explain probe`.
hypothesis:
  before:                    # or nothing is injected, exit 3
    - {{probe: vm.running, is: "== 100%", within: 60s}}
    - {{probe: vm.works, is: "== 100%"}}
  recover: {{within: 60s}}     # so long after the heal those of `after` may take, else exit 6
  after:
    - {{probe: vm.running, is: "== 100%"}}
    - {{probe: vm.works, is: "== 100%"}}

# How far the run may go: `keystead explain guard`.
guards:
  max_duration: 10m
  blast_radius: {{hosts: 1, kms: 1, vcenter: 1}}
  abort_if: []               # [{{probe: host.up, is: "< 50%", for: 30s}}]

# Faults and actions, and when: `keystead explain fault`, `... action`, `... entry`.
schedule:
  - {{id: cut, at: 10s, for: "${{cut}}", fault: link.cut, between: [vcenter, kms]}}
  - {{after: cut + 10s, fault: host.reboot, on: one of role:esxi}}
  - {{when: {{event: fault:host.reboot}}, do: key.generate, optional: true}}

# Checks judge every run; a file can add more: `keystead explain check`.
checks: {{add: []}}
"""


def skeleton(name: str) -> str:
    """The text of a file for an experiment called ``name``."""
    return _TEXT.format(name=name)


_DEFAULTS: Final = Guards()


def as_file(plan: Plan, checks: Sequence[str], *, note: str = "") -> dict[str, Any]:
    """Everything that the plan has, as plain values. ``checks`` are those that it fails."""
    entries = [_fault(fault) for fault in plan.faults] + [_action(one) for one in plan.actions]
    control = {"patch": plan.bug, "expect": list(plan.expect)} if plan.bug else None
    sections: dict[str, Any] = {
        "description": note,
        "seed": plan.seed,
        "duration": format_s(plan.duration_s),
        "order": plan.order,
        "topology": plan.topology,
        "requires": _drop_empty(msgspec.to_builtins(plan.requires)),
        "hypothesis": _hypothesis(plan),
        "guards": _guards(plan),
    }
    return {
        "apiVersion": "keystead/v1",
        "kind": "Experiment",
        "name": plan.name,
        "title": plan.title,
        **{name: value for name, value in sections.items() if value not in ("", {}, None)},
        "schedule": entries,
        "workload": [
            {"op": a.op, "at": format_s(a.at), **({"on": a.target} if a.target else {})}
            for a in plan.arrivals
            if plan.load is None or not plan.load.word_of(a.op)
        ],
        **({} if plan.load is None else {"load": _load(plan.load)}),
        "final": _final(plan),
        "checks": {"add": list(checks)},
        **({"negative_control": control} if control else {}),
    }


def _load(load: PlannedLoad) -> dict[str, Any]:
    """Drawn again from the seed, on the VMs that it was drawn for."""
    return _drop_empty(
        {
            "rate": load.rate,
            "for": load.for_,
            "mix": load.mix,
            "from": format_s(load.from_s),
            "warmup": format_s(load.warmup_s),
            "on": list(load.on),
            "arrivals": load.arrivals,
            "thresholds": list(load.thresholds),
        }
    )


# ---- entries of the schedule ---------------------------------------------------------------------


def _fault(fault: PlannedFault) -> dict[str, Any]:
    lasts_s, own = (
        None if fault.until is None else fault.until - fault.at,
        fault.fault().file_fields(),
    )
    if fault.cue is not None:
        lasts_s = fault.cue.lasts_s
    if fault.fault().at_point and fault.fault().lasts_s == 0:
        lasts_s = None
    if fault.fault().at_point:  # its node is that of the point
        own = {name: value for name, value in own.items() if name != "on"}
    return {
        "id": fault.id,
        "fault": fault.kind,
        **_begin(fault),
        **({} if lasts_s is None else {"for": format_s(lasts_s)}),
        **({"cure": True} if fault.cure else {}),
        **({"drawn": True} if fault.drawn else {}),
        **own,
    }


def _action(action: PlannedAction) -> dict[str, Any]:
    targets = [name for name in action.targets if name]
    lasts_s = None if action.cue is None else action.cue.lasts_s
    return {
        "id": action.id,
        "do": action.do,
        **_begin(action),
        **({} if lasts_s is None else {"for": format_s(lasts_s)}),
        **({"on": targets} if targets else {}),
        **({"must": action.must} if action.must else {}),
        **action.values,
    }


def _begin(planned: PlannedFault | PlannedAction) -> dict[str, Any]:
    if planned.cue is None:
        return {"at": format_s(planned.at)}
    optional = {"optional": True} if planned.cue.optional else {}
    return {**_cue(planned.cue), **optional}


def _cue(cue: Cue) -> dict[str, Any]:
    what = cue.what
    later = f" + {format_s(cue.delay_s)}" if cue.delay_s else ""
    if isinstance(what, Begun):
        return {"after": f"{what.of}{later}"}
    if isinstance(what, Ended):
        nodes, within = list(map(str, what.nodes)), format_s(what.within_s)
        wait = {"wait": what.wait, "on": nodes, "within": within}
        once = {"once": wait} if what.wait else {}
        return {"after": f"end of {what.of}{later}", **once}
    if isinstance(what, Strike):
        return {"point": _point(what)}
    when: dict[str, Any] = {"event": what.event, "on": list(what.on)}
    if what.nth != 1:
        when["nth"] = what.nth
    if cue.delay_s:
        when["plus"] = format_s(cue.delay_s)
    return {"when": _drop_empty(when)}


def _point(strike: Strike) -> dict[str, Any]:
    return {
        "node": str(strike.node),
        "call": strike.call,
        "path": strike.path,
        "function": strike.function,
        "from": format_s(strike.start),
        "nth": strike.nth,
    }


# ---- hypotheses and guards -----------------------------------------------------------------------


def _hypothesis(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for when in ("before", "during", "after"):
        of_phase = [_probe(probe) for probe in plan.probes if probe.when == when]
        if of_phase:
            found[when] = of_phase
    if plan.recover_s is not None:
        found["recover"] = {"within": format_s(plan.recover_s)}
    return found


def _final(plan: Plan) -> dict[str, Any]:
    settle = {"settle": format_s(plan.settle_s)}
    if not plan.core:
        return settle
    core = {"core": list(map(str, plan.core)), "within": format_s(plan.core_s)}
    return {"heal": core, **settle}


def _probe(probe: PlannedProbe) -> dict[str, Any]:
    written = _probe_fields(probe)
    if probe.op is not None:
        written["op"] = probe.op
    if probe.when == "before" and probe.within_s:
        written["within"] = format_s(probe.within_s)
    if probe.when == "during":
        written |= {"every": format_s(probe.every_s), "grace": format_s(probe.grace_s)}
    if probe.when == "during" and probe.cue is not None:
        written |= {**_cue(probe.cue), "for": format_s(probe.cue.lasts_s or 0.0)}
    elif probe.when == "during":
        written["from"] = format_s(probe.start)
        if probe.until is not None:
            written["until"] = format_s(probe.until)
    return written


def _probe_fields(probe: PlannedProbe) -> dict[str, Any]:
    on: Iterable[str] = (*map(str, probe.vms), *map(str, probe.hosts))
    written: dict[str, Any] = {"probe": probe.probe, "is": probe.is_.text, "on": list(on)}
    if probe.view != "host":
        written["view"] = probe.view
    return _drop_empty(written)


def _guards(plan: Plan) -> dict[str, Any]:
    spent = Counter(fault.kind for fault in plan.faults if not fault.fault().reversible)
    aborts = [
        {**_probe_fields(probe), "for": format_s(probe.grace_s), "every": format_s(probe.every_s)}
        for probe in plan.aborts
    ]
    away = [
        {"from": format_s(begin), "for": format_s(end - begin)} for begin, end in plan.unattended
    ]
    lease = "" if plan.lease_s == _DEFAULTS.lease else format_s(plan.lease_s)
    most = plan.max_duration_s
    return _drop_empty(
        {
            "lease": lease,
            "max_duration": "" if most == _DEFAULTS.max_duration else format_s(most),
            "blast_radius": dict(spent),
            "abort_if": aborts,
            "unattended": away,
        }
    )


def _drop_empty(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: a file leaves that out."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {}, ())}
