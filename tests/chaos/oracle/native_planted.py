"""Bugs to plant into what the fold knows of native providers, each with the run that shows it: a
method, the place in its text, what stands there instead, and the run."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.answers import FoldAnswers
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.hosts import Derivation, FoldedHost
from chaos.oracle.fold.upkeep import Providers
from chaos.oracle.fold.ways import Ways

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        Derivation.boot,
        "self.came, self.went = frozenset(), False",
        "pass",
        "native: prepared after a boot, and safe after another without vCenter",
    ),
    (
        Derivation.comes,
        "kdks if surely else self.kdk | kdks",
        "self.kdk | kdks",
        "native: imported again, and locked for ever",
    ),
    (
        Derivation.comes,
        "kdks if surely else self.kdk | kdks",
        "kdks",
        "namesake: a host that may have been told, and was not",
    ),
    (
        Providers.knows_native,
        "YES if name in without else NO",
        "NO",
        "native: for hosts with a TPM, and this one is safe without",
    ),
    (
        Derivation.goes,
        "NONE if surely else self.kdk | NONE",
        "self.kdk | NONE",
        "native: deleted, and safe after the boot",
    ),
    (
        Derivation.goes,
        "NONE if surely else self.kdk | NONE",
        "NONE",
        "native: deleted, the host may have been told, and was not",
    ),
    (Derivation.was_used, "not self.went", "False", "native: not safe after a power loss"),
    (
        Derivation.was_used,
        "not self.went",
        "True",
        "native: deleted, told late, and locked then",
    ),
    (
        Derivation.was_lacking,
        "not self.came",
        "False",
        "native: prepared after a boot, and safe after another without vCenter",
    ),
    (
        FoldedHost._after_boot,
        "return NOWHERE",
        "return places",
        "native: deleted, and running after the boot within the grace",
    ),
    (
        FoldedHost._after_boot,
        "key != self.key",
        "True",
        "native: it asks nobody after a power loss",
    ),
    (
        FoldedHost._after_boot,
        "for has in has_it",
        "for has in (True, False)",
        "native: not safe after a power loss",
    ),
    (
        FoldedHost.hear_of_vm,
        "own is None or missing",
        "True",
        "native: deleted, told late, and locked then",
    ),
    (
        FoldedHost.derive,
        "CACHED if surely else",
        "",
        "native: imported again long ago, not safe, and vCenter is away",
    ),
    (
        Ways.look,
        "listed=inverse(listed)",
        "listed=listed",
        "native: deleted, and safe after the boot",
    ),
    (
        Ways.boot,
        "(*self._ways.items(), *self._away.items())",
        "self._ways.items()",
        "native: safe after a boot, and prepared after another without vCenter",
    ),
    (
        Fold._keys_on_their_way,
        "taken == NO and own is None",
        "taken == NO",
        "native: derived without vCenter, and in the cache when it is told of the deletion",
    ),
    (
        FoldedHost.derive,
        "key == self.key",
        "True",
        "native: derived without vCenter, and in the cache when it is told of the deletion",
    ),
    (
        FoldAnswers._answer,
        '"kms" if own is None else "to_host"',
        '"kms"',
        "native: imported again, and unlocked",
    ),
)
