"""Whether an unattested host may power a VM on (ATT-06, C6, C7). Pure.

First, which VMs are concerned, by the knob ``unattested_blocks`` (C7), on a trusted host only:

| VM | encrypted | all |
|---|---|---|
| has a key of a trusted provider | yes | yes |
| any other | no | yes |

Then, once its keys are there, by the knob ``persist_overrides_attestation`` (C6):

| attestation | always | unreachable_only | never |
|---|---|---|---|
| attested | allowed | allowed | allowed |
| refused | allowed | blocked | blocked |
| unreachable | allowed | allowed | blocked |

A VM whose keys are not there is not judged here: it is locked for lack of them.
"""

from __future__ import annotations

from typing import Literal, assert_never

from services.esxi.providers.trusted.state import AttestationOutcome

Overrides = Literal["always", "unreachable_only", "never"]
Blocks = Literal["encrypted", "all"]


def is_concerned(blocks: Blocks, *, of_trusted_provider: bool) -> bool:
    """Whether attestation decides about a VM; ``of_trusted_provider``: it has a key of one."""
    match blocks:
        case "encrypted":
            return of_trusted_provider
        case "all":
            return True
        case _:
            assert_never(blocks)


def is_allowed(overrides: Overrides, outcome: AttestationOutcome) -> bool:
    """Whether a concerned VM may be powered on."""
    match overrides:
        case "always":
            return True
        case "unreachable_only":
            return outcome is not AttestationOutcome.REFUSED
        case "never":
            return outcome is AttestationOutcome.ATTESTED
        case _:
            assert_never(overrides)
