"""Bugs to plant into what the fold knows of acts of administrators: a method, the place in its
text, what stands there instead, and the run that shows it."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.answers import FoldAnswers
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.hosts import FoldedTrust
from chaos.oracle.fold.listings import Listings, ProviderListing
from chaos.oracle.fold.upkeep import Providers, Upkeep

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        Listings.put_back,
        "kept.get(name, NONE)",
        "found.now",
        "restored: what vCenter does not know is gone after the boot",
    ),
    (
        Listings.put_back,
        "if surely:",
        "if True:",
        "restored: nobody knows whether it was, and it was not",
    ),
    (
        ProviderListing.could_make,
        "min(self.surely_gone_since, self.unbacked_since)",
        "self.surely_gone_since",
        "no backup, and a key is made",
    ),
    (
        Providers.vcenter_restored,
        "self.not_granted[key] =",
        "_ =",
        "restored: a key made since comes though nobody unlocks",
    ),
    (
        Providers.vcenter_restored,
        "{*known.get(name, ())}",
        "set()",
        "restored: a key of the backup does not come",
    ),
    (
        Providers.vcenter_rebuilt,
        "NO if done else OPEN",
        "YES",
        "rebuilt: hosts that nobody has added keep what they have",
    ),
    (
        Providers.vcenter_rebuilt,
        "dict.fromkeys(self._keys_brought(vm), YES if done else OPEN)",
        "{}",
        "rebuilt: nobody unlocks, and its key comes",
    ),
    (
        Upkeep.key_granted,
        "self.not_granted.pop(key, None)",
        "pass",
        "rebuilt: unlocked, and its key does not come",
    ),
    (
        Upkeep.key_granted,
        "self.not_granted[key] = OPEN",
        "pass",
        "rebuilt: nobody knows whether it was unlocked, and it was",
    ),
    (
        Providers.take_lead,
        'wanted if record.type == "ok" else OPEN',
        "OPEN",
        "left alone, and safe",
    ),
    (
        Providers.take_addition,
        "self._have_servers(name, servers)",
        "pass",
        "rebuilt: its provider is added again, and its keys do not come",
    ),
    (
        Upkeep.key_gone,
        'map(str, record.data.get("keys", ()))',
        "()",
        "destroyed by an operator, and running after the boot",
    ),
    (
        Upkeep.key_servers_restored,
        "self.sources_are_open = False",
        "pass",
        "key servers restored, and another key does not come",
    ),
    (
        Upkeep.key_removed,
        "YES if done else OPEN",
        "NO",
        "removed by force: locked when it is off",
    ),
    (
        Upkeep.key_removed,
        'if not self.began_with(record).get("force"):',
        "if False:",
        "not removed, for it is in use",
    ),
    (
        Upkeep.key_known,
        "self.forgotten.pop(key, None)",
        "pass",
        "removed by force, known again, and locked for ever",
    ),
    (
        Upkeep.disks,
        "vm.end_recrypt(number, record.type, record.t)",
        "vm.rekeyed.discard(number)",
        "a disk more, and nobody knows under which key",
    ),
    (
        Upkeep.crypto_off,
        "disabled = True",
        "disabled = False",
        "encryption mode off, prepared by hand, and not safe",
    ),
    (
        Upkeep.crypto_on,
        "disabled = False",
        "disabled = True",
        "encryption mode on again, and never safe",
    ),
    (
        Upkeep.take_reinstall,
        "dict.fromkeys(host.places, NOWHERE)",
        "host.places",
        "installed anew, and safe by its old store",
    ),
    (
        Upkeep.take_reinstall,
        "kdk=NONE",
        "kdk=own.kdk",
        "installed anew, and it derives its keys at the next boot",
    ),
    (
        Fold._tpm,
        'found.values.get("latent")',
        "False",
        "its TPM is cleared, and it has not booted since",
    ),
    (
        Fold._stop_of,
        "and found.begun > host.wiped_at",
        "",
        "installed anew: what the TPM was before does not stop it",
    ),
    (
        FoldedTrust.boot,
        "or self.untold",
        "",
        "certificates renewed: not told, and refused",
    ),
    (
        Upkeep.trust_told,
        "self.untold -= {_RENEWED[record.op]}",
        "pass",
        "certificates renewed, told, and not served after the next boot",
    ),
    (
        FoldAnswers.settled,
        "way.pushes and",
        "",
        "keys come with the repair, when a key server is back",
    ),
)
