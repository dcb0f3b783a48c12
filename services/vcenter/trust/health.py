"""The health of each item of a Trust Authority's configuration, from what services have. Pure.

| on those that answer | all answer | health |
|---|---|---|
| none answers | - | NONE |
| the same, as desired | yes | OK |
| the same, as desired | no | WARNING |
| missing, or another one, on some | - | ERROR |
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.messages.vcenter import TrustItemHealth
from protocol.terms import NodeName, ProviderHealth
from protocol.trust import ItemDigest, item
from services.vcenter.tables import AuthorityRow

Seen = Mapping[NodeName, tuple[ItemDigest, ...] | None]
"""What each service has; None: it does not answer."""


def item_health(
    row: AuthorityRow, attestation: Seen, key_providers: Seen
) -> tuple[TrustItemHealth, ...]:
    """One for each item that there should be, then those that services have beside."""
    found = [_judged(one, attestation) for one in items_of_attestation(row)]
    found += [_judged(one, key_providers) for one in items_of_key_providers(row)]
    return (*found, *_beside(row, attestation, key_providers))


def items_of_attestation(row: AuthorityRow) -> tuple[ItemDigest, ...]:
    """What each Attestation Service is to have."""
    return (
        *(item("principal", one.name, one) for one in row.principals),
        *(item("caCertificate", one.name, one) for one in row.ca_certificates),
        *(item("endorsementKey", one.name, one) for one in row.endorsement_keys),
        *(item("baseImage", one.version, one) for one in row.base_images),
        item("settings", "tpm", row.settings),
    )


def items_of_key_providers(row: AuthorityRow) -> tuple[ItemDigest, ...]:
    """What each Key Provider Service is to have."""
    return (
        *(item("provider", one.provider, one) for one in row.providers),
        *(item("attestationService", one.node, one) for one in row.issuers),
    )


def _judged(wanted: ItemDigest, seen: Seen) -> TrustItemHealth:
    silent = [node for node, has in seen.items() if has is None]
    wrong = [node for node, has in seen.items() if has is not None and wanted not in has]
    if len(silent) == len(seen):
        health, details = ProviderHealth.NONE, ["no service answers"]
    elif wrong:
        health, details = ProviderHealth.ERROR, [f"{node} does not have it so" for node in wrong]
    elif silent:
        health, details = ProviderHealth.WARNING, [f"{node} does not answer" for node in silent]
    else:
        health, details = ProviderHealth.OK, []
    return TrustItemHealth(
        kind=wanted.kind, name=wanted.name, health=health, details=tuple(details)
    )


def _beside(row: AuthorityRow, attestation: Seen, key_providers: Seen) -> list[TrustItemHealth]:
    there = {
        (one.kind, one.name) for one in (*items_of_attestation(row), *items_of_key_providers(row))
    }
    found: dict[tuple[str, str], list[NodeName]] = {}
    for seen in (attestation, key_providers):
        for node, has in seen.items():
            for one in has or ():
                if (one.kind, one.name) not in there:
                    found.setdefault((one.kind, one.name), []).append(node)
    return [
        TrustItemHealth(
            kind=kind,
            name=name,
            health=ProviderHealth.ERROR,
            details=tuple(f"{node} has it, and should not" for node in nodes),
        )
        for (kind, name), nodes in found.items()
    ]
