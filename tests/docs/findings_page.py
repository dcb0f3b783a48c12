"""Makes ``docs/kmip-findings.md`` out of the table of kinds.

.venv/bin/python -m tests.docs.findings_page     # writes the page anew
"""

from __future__ import annotations

from pathlib import Path

from lab.kmip.replay.findings import FindingKind, PlayPhase
from lab.kmip.replay.kinds import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kmip-findings.md"
HEAD = """\
# Findings of `kmip replay`

For users of [`keystead kmip replay`](kmip-replay.md): every finding that it can report about a key
server, with its cause and its fix. The id of a finding does not change between versions, so a
pipeline can refer to it.

- An **error** means that encryption fails, that a virtual machine does not come back after a reboot
  of its hosts, or that keys are not secret.
- A **notice** means that the server violates the standard or good practice. As far as is known, a
  vCenter works with it.

Sources are sections of *Key Management Interoperability Protocol Specification Version 1.1*,
RFCs, and [rules of vSphere](rules.md). The text says so where neither a recorded session of a
vCenter nor its documentation shows its behaviour.

This page is generated from the table in `lab/kmip/replay/kinds.py`. For each finding a test runs a
key server with that one fault, and expects exactly that finding.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for phase in PlayPhase:
        kinds = [kind for kind in KINDS if kind.check.phase is phase]
        if kinds:
            parts.append(f"## {phase.value.capitalize()}\n")
            parts += [section(kind) for kind in kinds]
    return "\n".join(parts)


def section(kind: FindingKind) -> str:
    """A kind of finding."""
    return (
        f"### {kind.id}\n\n"
        f"{kind.level.value.capitalize()}: {kind.title}.\n\n"
        f"- Check: {kind.check.title}\n"
        f"- vCenter: {kind.vcenter}.\n"
        f"- Fix: {kind.fix}.\n"
        f"- Source: {kind.source}\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
