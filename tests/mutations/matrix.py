"""Which cells of the matrix turn red for which planted bug; cells are named as in the table.

Played alone, each with its own lab: what it costs is what these few cells cost. That the same cells
agree on sound code is a test of ``tests/lab/matrix``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chaos.matrix.control import NEEDS_TPM, REMOVED, VSAN_BIT, VSAN_DEK
from chaos.oracle.terms import Block

NEW_KEY: Final = "a new key is on every host of its cluster within 10 s"
MARKS_NOBODY: Final = "a vCenter that returns and can supply a key marks nobody"

DAMAGE: Final = "a flipped bit of a disk's ciphertext is noticed"


@dataclass(frozen=True)
class Turned:
    """``bug`` of ``tests/mutations/bugs`` turns each of ``cells`` red, and ``told`` is a part of
    what the row of the first says then. ``control``: what does not hold of ``block`` instead.
    ``variants``: it shows when the fault is made in another way than the usual one. ``on_vsan``:
    the control is one of an encrypted vSAN.
    """

    bug: str
    cells: tuple[str, ...] = ()
    told: str = ""
    control: str = ""
    variants: bool = False
    block: Block = Block.S10
    on_vsan: bool = False


TURNED: Final = (
    Turned("cache_survives_reboot", ("S10 F1 E2", "S10 F1 E4"), "SAFE, and the table"),
    Turned(
        "vcenter_keeps_values",
        ("S10 F1 E6", "S10 F8 E4", "S10 F1 E11"),
        "OK, and the table says LK",
    ),
    Turned("unseal_ignores_pcrs", ("S10 F5a E2", "N1x F5a E2"), "SAFE, and the table says PS"),
    Turned("sealed_to_the_image", ("S10 F5b E2", "S11 F5b E4"), "PS, and the table"),
    Turned("config_key_in_escrow", ("S11 F6 E2", "N1x F6 E2"), "SAFE, and the table says PS"),
    Turned("stopped_boot_serves", ("S10 F5a E2",), "and the table says PS"),
    Turned(
        "unsealed_taken_for_sealed", ("S00 F5a E2", "N0x F5b E2"), "PS, and the table says SAFE"
    ),
    Turned(
        "persisted_at_a_stop_only", ("S11 F1 E2", "S11 F1 E4"), "orderly SAFE, power_loss UNSAFE"
    ),
    Turned("archive_folder_unsynced", ("S11 F4 E4",), "orderly OK, power_loss NO"),
    Turned("host_key_not_persisted", ("S11 F1 E2",), "UNSAFE, and the table says SAFE"),
    Turned("safe_when_vcenter_comes", ("S11 F2 E2", "S11 F0 E2"), "does not refuse its dump"),
    Turned("restart_through_vcenter", ("S10 F2 E5",), "nobody tried"),
    Turned("power_on_asks_vcenter", ("S10 F2 E3",), "vCenter cannot be asked"),
    Turned("move_pulls_again", ("S10 F1 E7",), "NO, and the table says OK"),
    Turned("refused_move_locks", ("S10 F1 E8",), "VMLocked.KMSClusterError"),
    Turned("locks_on_first_silence", ("S10 F1 E1",), "VMLocked.KMSClusterError"),
    Turned("new_key_for_one_host", control=NEW_KEY),
    Turned("eviction_stops_guests", ("S10 F7 E1",), "its key left the host"),
    Turned("no_eviction", ("S10 F7 E3",), "OK, and the table says PT"),
    Turned("eviction_at_once", ("S10 F7 E3",), "LK, and the table says PT"),
    Turned("eviction_leaves_the_store", ("S11 F7 E3",), "and the table says PT"),
    Turned("reconnect_evicts", ("S11 F7 E4",), "LK, and the table says OK"),
    Turned("provider_by_number", ("S10 F7 E4",), "after the fault was over"),
    Turned("host_key_renewed_anyway", ("S10 F7 E2",), "does not decrypt its dump"),
    Turned("destroyed_key_given", ("S10 F8 E4",), "OK, and the table says LK"),
    Turned("state_check_skipped", ("S10 F8 E4",), "deactivated orderly OK", variants=True),
    Turned("destruction_reaches_hosts", ("S10 F8 E3", "S11 F8 E4"), "LK, and the table"),
    Turned(
        "prepared_passes_for_safe",
        ("S10 F1 E2", "S10 F1 E11"),
        "does not decrypt its dump",
    ),
    Turned("returned_vcenter_marks_nobody", ("S10 F2 E4", "N1x F2 E6"), "does not mark it"),
    Turned("marks_before_it_tries", control=MARKS_NOBODY),
    Turned("failed_create_leaves_a_vm", ("S10 F1 E9",), "it is in an inventory"),
    Turned("recrypt_of_one_provider", ("S10 F7 E10",), "NO, and the table says OK"),
    Turned("half_recrypt_done", ("S10 F0 E10",), "a wrapped DEK is as it was"),
    Turned("recrypt_unwritten", ("S10 F0 E10", "N1x F0 E10"), "it is still under"),
    Turned("enabled_without_tpm", control=NEEDS_TPM, block=Block.S00),
    Turned("removal_ignored", control=REMOVED, block=Block.S11),
    Turned("removed_in_memory_only", control=REMOVED, block=Block.S11),
    # Native providers.
    Turned("new_host_without_kdk", ("N0x F0 E11",), "in the inventory"),
    Turned("kdk_by_reconciliation_only", ("N1x F0 E11",), "with the fault still there"),
    Turned("kdk_in_memory_only", ("N1x F2 E2", "N1x F4 E4"), "UNSAFE, and the table says SAFE"),
    Turned("provider_deletion_not_pushed", ("N1x F7 E2",), "SAFE, and the table says UNSAFE"),
    Turned("derivation_ignores_kdk", ("N1x F8 E4", "N1x F8 E11"), "OK, and the table says LK"),
    Turned("wrapped_dek_tag_unchecked", ("N0x F8 E4",), "and the table says LK"),
    Turned("derived_host_key_unchecked", ("N1x F8 E2",), "does not decrypt its dump"),
    Turned("derived_key_outlives_eviction", ("N1x F7 E3",), "OK, and the table says PT"),
    Turned("kdk_in_clear_at_rest", ("N1x F0 E1",), "new_kdk (base64) in the database"),
    # Trusted providers.
    Turned("primary_key_kept", ("T10 F1 E2", "T10 F8 E4"), "SAFE, and the table says UNSAFE"),
    Turned("image_not_compared", ("T10 F5b E2", "T10 F5b E11"), "SAFE, and the table says UNSAFE"),
    Turned("trusted_keys_through_vcenter", ("T10 F2 E4", "T10 F2 E6"), "orderly LK, power_loss"),
    Turned("trusted_keys_pushed", ("T10 F1 E6", "T10 F3 E8"), "has the key of"),
    Turned("token_not_checked", ("T10 F5b E4",), "who has no token"),
    Turned("token_survives_reboot", ("T10 F5b E2",), "SAFE, and the table says UNSAFE"),
    Turned("refused_token_kept", ("T10 F5b E1",), "had a new key made"),
    Turned("refused_host_powers_on", ("T11 F5b E4",), "OK, and the table says NO"),
    Turned("silence_blocks_keys", ("T11 F3 E4", "T10 F3 E3"), "NO, and the table says OK"),
    Turned("unlisted_key_attested", ("T10 F0 E11",), "after_ek_image_and_remediation is None"),
    Turned("new_host_configured_at_once", ("T10 F0 E11",), "part event is None"),
    # Encrypted vSAN.
    Turned("vsan_kek_not_persisted", ("S11 F1 E12", "S11 F4 E12"), "NO, and the table says OK"),
    Turned("vsan_read_from_memory", control=VSAN_BIT, on_vsan=True),
    Turned("vsan_wrong_kek_opens", control=VSAN_DEK, on_vsan=True),
    Turned("vsan_keys_through_vcenter", ("S10 F2 E12",), "NO, and the table says OK"),
    # What services say, and do not do.
    Turned("says_that_it_persists", ("S11 F1 E4",), "LK, and the table says OK"),
    Turned("says_that_it_has_keys", ("S10 F0 E11",), "is not what it shows"),
    Turned("vcenter_shows_no_lock", ("S10 F1 E4",), "and it shows as locked"),
    Turned("vcenter_says_it_runs", ("S10 F0 E3",), "done, but it does not run"),
    Turned("vcenter_says_deleted", ("S10 F7 E4",), "OK, and the table says LK"),
    Turned("host_plays_the_guest", ("S10 F1 E4",), "its guest is not right"),
    Turned("guest_answers_from_memory", control=DAMAGE),
    # What lies in clear.
    Turned("stream_in_clear", ("S10 F0 E7",), "(raw) in the bus"),
    Turned("guest_disk_in_clear", ("S10 F0 E1",), "in clear: e1-run"),
    Turned("dek_beside_the_vm", ("S10 F0 E1",), "(hex) in the datastore"),
    Turned("config_key_written_down", ("S10 F0 E2",), "(raw) in the disk"),
    Turned("keys_in_the_log", ("S10 F0 E3",), "(base64) in the log"),
    Turned("key_leaks", ("S10 F0 E1",), "(backwards) in the bus"),
)
