"""Where secrets may lie, and why. Everything else that is found is a leak."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lab.scan.search import Find


@dataclass(frozen=True)
class Exempt:
    """``kind`` and ``name`` of the place and ``secret`` (who made it) are patterns."""

    kind: str
    name: str
    secret: str
    why: str


EXEMPT = (
    Exempt(
        "disk",
        r"(kms[^/]*|k\d)/.*master\.key(\.new)?",
        r"services\.kms\.sealing\.roots\.keyfile:.*",
        "a software key server keeps its master key on its own disk, beside its database",
    ),
    Exempt(
        "disk",
        r".*/bootbank/state\.tgz(\.new)?",
        r"services\.esxi\.configuration\.sealing:derive_config_key",
        "mode NONE: the config key is made from material that lies beside it (CFG-03)",
    ),
    Exempt(
        "disk",
        r"copies/(kms[^/]*|k\d)/.*master\.key(\.new)?",
        r"services\.kms\.sealing\.roots\.keyfile:.*",
        "the backup of a key server's disk that the cure of kms.key_state puts back",
    ),
    Exempt(
        "disk",
        r".*symkey\.dat(\.new)?",
        r"services\.vcenter\.providers\.symkey:_from_material",
        "vCenter keeps the key of its KDKs beside its database, as the product does (NKP-08)",
    ),
    Exempt(
        "disk",
        r"(copies/)?(kms[^/]*|k\d)/.*kmip-identity(\.new)?",
        r"protocol\.crypto\.certificates:.*|services\.runtime\.own_certificate:.*",
        "a key server keeps the key of its certificate on its own disk, as a software identity is",
    ),
    Exempt(
        "disk",
        r"keyprovider-\d+/.*/kmip-identity(\.new)?",
        r"protocol\.crypto\.certificates:.*|services\.runtime\.own_certificate:.*",
        "a Key Provider Service keeps the key of its certificate on its own disk, which has no TPM",
    ),
    Exempt(
        "disk",
        r"[^/]+/.*/vmca(\.new)?",
        r"services\.runtime\.identity:.*",
        "VMCA's key lies on vCenter's own disk, as the product's does (VTPM-04)",
    ),
    Exempt(
        "disk",
        r"(attestation|keyprovider)-\d+/.*/identity(\.new)?",
        r"services\.runtime\.identity:.*",
        "a service of a Trust Authority keeps its signing key on its own disk (ATT-03)",
    ),
    Exempt(
        "disk",
        r"[^/]+/.*/sts(\.new)?",
        r"services\.runtime\.identity:.*",
        "the key of vCenter's STS lies on its own disk, as the product's does (HLT-05)",
    ),
    Exempt(
        "faults",
        ".*",
        r"services\.vcenter\.providers\.native:new_kdk|chaos\.native_backups:.*",
        "notes of provider.delete hold the backup of a native provider for its cure; mode 0600",
    ),
    Exempt(
        "faults",
        ".*",
        r"services\.esxi\.configuration\.recovery:.*"
        r"|services\.esxi\.configuration\.archive:.*|services\.esxi\.console:.*",
        "notes of TPM faults hold recovery keys as an administrator's safe would; mode 0600",
    ),
    Exempt(
        "identity",
        ".*",
        "identity",
        "the lab's identities lie in files of mode 0600, one per node, read by their owner",
    ),
)
"""Not looked at: the NV of TPMs (a TPM's own memory, which the lab cannot encrypt for it), the
memory of processes, and the control plane, over which an administrator's console shows recovery
keys and guests are given their markers."""


def leaks(found: Iterable[Find]) -> list[Find]:
    """What no exemption allows."""
    return [find for find in found if not any(covers(rule, find) for rule in EXEMPT)]


def covers(rule: Exempt, find: Find) -> bool:
    """Whether the rule allows what was found."""
    pairs = ((rule.kind, find.kind), (rule.name, find.name), (rule.secret, find.secret))
    return all(re.fullmatch(pattern, text) for pattern, text in pairs)
