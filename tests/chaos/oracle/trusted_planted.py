"""Bugs to plant into what the fold knows of trusted hosts: a method, the place in its text, what
stands there instead, and the run that shows it."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.answers import FoldAnswers
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.hosts import FoldedHost, FoldedTrust
from chaos.oracle.fold.ways import Ways

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (FoldedTrust.boot, "self.token = NO", "pass", "trusted: nobody attests it, and it is safe"),
    (
        FoldedTrust.boot,
        "or self.sealed_anew",
        "",
        "trusted: another TPM once, and not known",
    ),
    (
        FoldedTrust.may_attest,
        "self.token = OPEN",
        "pass",
        "trusted: attested, and served when nobody attests it any more",
    ),
    (
        FoldedTrust.may_attest,
        "service != NO",
        "True",
        "trusted: nobody attests it, and it is safe",
    ),
    (
        Ways._look_at_services,
        "found.with_token(trust.token)",
        "found.whole",
        "trusted: attested, and served when nobody attests it any more",
    ),
    (
        Ways._kms_of,
        "found == NO and self.caches_primary_keys",
        "False",
        "trusted: no key server, and they hold the primary key",
    ),
    (
        Ways._kms_of,
        "found == NO and self.caches_primary_keys",
        "found == NO",
        "trusted: its services reach no key server, and it is safe",
    ),
    (
        FoldAnswers.asked,
        "way.booting_since - EARLY_S",
        "0",
        "trusted: nothing is wrong but its power, and it is not safe",
    ),
    (
        FoldAnswers.asked,
        "+ self.settings.again_s",
        "",
        "trusted: the services come back",
    ),
    (
        FoldAnswers.asked,
        "+ self.settings.again_s",
        "+ 1e9",
        "trusted: the services are back for long, and it is not safe",
    ),
    (
        FoldedHost.hear_of_vm,
        "not (running or missing)",
        "False",
        "trusted: off, nobody has asked for its key, and locked then",
    ),
    (
        Fold._move,
        "and trust.known == YES",
        "",
        "trusted: another TPM once, and not known",
    ),
    (
        Fold._take_trusted,
        "ways.caches_primary_keys = self.settings.kps_primary_key_cache",
        "pass",
        "trusted: no key server, and they hold the primary key",
    ),
)
