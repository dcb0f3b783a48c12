"""A new experiment file, with a comment on each part: it is without errors as it stands."""

from __future__ import annotations

from typing import Final

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
