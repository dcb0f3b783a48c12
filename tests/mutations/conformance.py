"""The planted bug of each conformance assertion: with it its line is red."""

from __future__ import annotations

from typing import Final

RED: Final[dict[str, tuple[str, str]]] = {
    "A01": ("locks_on_first_silence", "locked VMs while"),
    "A02": ("cache_survives_reboot", "and not prepared"),
    "A03": ("waits_for_vcenter", "poweredOff"),
    "A04": ("vcenter_keeps_values", "late on esxi-002: it is on"),
    "A05": ("removal_ignored", "after they were removed"),
    "A06": ("config_key_written_down", "unsealed.bin"),
    "A07": ("unseal_ignores_pcrs", "is running with Secure Boot off"),
    "A08": ("old_recovery_key_accepted", "rotated away"),
    "A09": ("vcenter_writes_values_down", "keys.txt"),
    "A10": ("foreign_group_accepted", "a new key with a token of another group: it was done"),
    "A11": ("trusted_keys_through_vcenter", "without any vCenter"),
    "A12": ("kdk_in_memory_only", "and not safe"),
    "A13": ("unexported_provider_usable", "it was done"),
    "A14": ("provider_by_number", "back under its name"),
    "A15": ("disk_key_makes_invalid", "is invalid for"),
    "A16": ("first_key_server_only", ""),
    "A17": ("recrypt_unwritten", "recrypted before its old key was destroyed"),
    "A18": ("deep_recrypt_is_shallow", "it was done"),
    "A19": ("no_eviction", "is powered on after its provider was deleted"),
    "A20": ("vsan_kek_not_persisted", ""),
    "A21": ("reconcile_never", "things differ"),
    "A22": ("outage_untold", "kms.crypto.Unreachable is not told"),
    "A23": ("cache_survives_reboot", "S10 F1 E2 disagree"),
    "A24": ("persisted_at_a_stop_only", ""),
    "A25": ("sealed_for_every_tpm", "is running with the configuration of"),
    "A26": ("moves_to_any_host", ""),
    "A27": ("key_leaks", "in bus"),
    "A28": ("providers_uncounted", "it was done"),
    "A29": ("unattested_starts", "is powered on on a host that is not attested"),
    "A30": ("image_not_compared", "refused for its image"),
}
"""By assertion: the bug, and words of what is seen then."""

IN_CONFORMANCE: Final = frozenset(bug for bug, _ in RED.values())
