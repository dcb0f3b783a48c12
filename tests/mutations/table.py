"""Which named test turns red for which planted bug, and what it says then."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutations.copies import COPIES, RIGHTS
from tests.mutations.custody import CUSTODY
from tests.mutations.drs import DRS
from tests.mutations.found import FOUND
from tests.mutations.groups import GROUPS
from tests.mutations.ha import HA
from tests.mutations.matrix import TURNED
from tests.mutations.mobility import IN_MOVES, MOBILITY
from tests.mutations.recrypt import RECRYPT
from tests.mutations.trust import TRUST
from tests.mutations.vsan import VSAN
from tests.mutations.vtpm import VTPM

_VC, _ESX, _KMS = "tests/services/vcenter", "tests/services/esxi", "tests/services/kms"
_BUS, _FORGERY = "tests/conformance/test_bus.py", "tests/conformance/test_bus_forgery.py"
_DURABLE = "tests/e2e/test_faults_durable.py"
_CHAOS = "tests/chaos"


@dataclass(frozen=True)
class Killed:
    """``test`` is a node id; ``told`` a part of what it prints when the bug is there."""

    mutation: str
    test: str
    told: str


KILLED = (
    *(Killed(*entry) for entry in (*DRS, *GROUPS, *HA, *TRUST, *VSAN, *VTPM)),
    *(Killed(*entry) for entry in (*CUSTODY, *MOBILITY, *RECRYPT, *COPIES, *RIGHTS)),
    # Native providers: KDK, derived keys, backup.
    Killed(
        "kdk_in_clear_at_rest",
        f"{_VC}/test_native.py::test_a_kdk_is_not_in_clear_on_vcenters_disk_and_survives_its_life",
        "kdk.reveal() not in native.wrapped",
    ),
    Killed(
        "symkey_unsynced",
        f"{_VC}/test_native.py::test_a_symkey_that_was_left_unsynced_is_made_durable_first",
        "cannot be opened",
    ),
    Killed(
        "kdk_in_memory_only",
        f"{_ESX}/test_native.py::"
        "test_the_kdk_survives_a_power_loss_right_after_it_was_acknowledged",
        "kdk",
    ),
    Killed(
        "derivation_ignores_kdk",
        f"{_ESX}/test_native.py::test_an_id_is_one_key_under_one_kdk",
        "OTHER",
    ),
    Killed(
        "unexported_provider_usable",
        f"{_VC}/test_native.py::test_it_must_be_backed_up_before_it_is_used",
        "makes no keys of nkp",
    ),
    Killed(
        "derived_key_outlives_eviction",
        f"{_ESX}/test_native.py::"
        "test_a_provider_that_leaves_the_list_takes_its_kdk_along_and_cached_keys_stay",
        "not refused",
    ),
    Killed(
        "provider_deletion_not_pushed",
        f"{_VC}/test_native.py::test_hosts_are_told_at_once_and_health_says_who_lacks_it",
        "providers",
    ),
    Killed(
        "derived_host_key_unchecked",
        f"{_ESX}/test_native.py::test_another_kdk_under_the_name_is_noticed_by_host_key_and_vm",
        "PREPARED",
    ),
    Killed(
        "derived_keys_stored",
        f"{_ESX}/test_native.py::test_derived_keys_are_not_persisted",
        "stored_keys",
    ),
    Killed(
        "tpm_requirement_ignored",
        f"{_ESX}/test_native.py::test_tpm_required_excludes_a_host_without_one",
        "kdk(NKP)",
    ),
    Killed(
        "backup_before_download",
        f"{_VC}/test_native.py::test_a_token_is_good_once_and_for_a_while",
        "NOT_BACKED_UP",
    ),
    # The host: keys, configuration, boot.
    Killed(
        "persistence_unsynced",
        f"{_ESX}/test_archive.py::test_keys_answered_are_keys_kept",
        "keys_survive_power_loss",
    ),
    Killed(
        "unseal_ignores_pcrs",
        f"{_ESX}/test_boot.py::test_secure_boot_off_stops_the_boot_and_on_again_brings_all_back",
        "False = halts",
    ),
    Killed(
        "cache_survives_reboot",
        f"{_ESX}/test_boot.py::test_the_key_cache_is_empty_after_every_reboot[crash]",
        "False = forgets",
    ),
    Killed(
        "stopped_boot_serves",
        f"{_ESX}/test_boot.py::test_secure_boot_off_stops_the_boot_and_on_again_brings_all_back"
        "[model]",
        "False = halts",
    ),
    Killed(
        "old_recovery_key_accepted",
        f"{_ESX}/test_boot.py::test_rotate_voids_the_old_recovery_key",
        "Failed to decrypt system configuration",
    ),
    Killed(
        "materials_swapped",
        f"{_ESX}/test_keys.py::"
        "test_at_its_console_a_host_tells_which_keys_are_the_same_and_not_which",
        "mine == {",
    ),
    Killed(
        "background_fails",
        f"{_CHAOS}/test_evidence.py::"
        "test_who_falls_by_itself_is_told_and_who_is_powered_off_is_not",
        "LookupError",
    ),
    Killed(
        "removed_in_memory_only",
        f"{_CHAOS}/test_evidence.py::"
        "test_a_host_without_stored_keys_is_looked_at_until_it_has_them_again",
        'not data["keys"]',
    ),
    Killed(
        "store_keeps_removed",
        f"{_ESX}/test_keys.py::test_keys_removed_leave_the_store_and_stay_gone",
        "[True, True, True] == [False, True, False]",
    ),
    Killed(
        "store_used_while_off",
        f"{_ESX}/test_keys.py::"
        "test_disable_without_the_flag_keeps_the_store_unused_until_enabled_again",
        "([True], [True]) == ([False], [True])",
    ),
    Killed(
        "host_key_not_persisted",
        f"{_ESX}/test_boot.py::test_persisted_keys_come_back_before_a_word_is_said[model-crash]",
        "store_is_back",
    ),
    Killed(
        "enabled_without_tpm",
        f"{_ESX}/test_esxcli.py::test_a_host_without_tpm_is_refused_with_a_text_that_names_it",
        "exit_code=0",
    ),
    Killed(
        "newer_keys_not_learned",
        f"{_VC}/test_newer_keys.py::test_it_is_recorded_and_locks_the_vm",
        "LOCKED",
    ),
    Killed(
        "invalid_vm_cloned",
        f"{_VC}/test_invalid_vms.py::test_no_other_task_is_done_on_it[CloneVm]",
        "isinstance(error, InvalidVmState)",
    ),
    Killed(
        "stored_without_tpm",
        f"{_ESX}/test_without_tpm.py::test_keys_that_vcenter_brings_are_not_stored",
        "stored_keys",
    ),
    Killed(
        "no_autostart",
        f"{_ESX}/test_autostart.py::test_a_running_vm_comes_back_with_persistence_and_nobody_else",
        "poweredO",
    ),
    Killed(
        "counter_rises_first",
        f"{_ESX}/test_rollback.py::test_the_counter_rises_only_behind_an_archive_that_is_on_disk",
        "halted",
    ),
    Killed(
        "destroyed_while_locked",
        f"{_ESX}/test_vms.py::test_a_vm_that_runs_elsewhere_keeps_its_files",
        "it was not refused",
    ),
    Killed(
        "waits_for_vcenter",
        f"{_ESX}/test_autostart.py::test_a_running_vm_comes_back_with_persistence_and_nobody_else",
        "poweredO",
    ),
    Killed(
        "guest_answers_from_memory",
        f"{_ESX}/test_vms.py::test_an_answer_comes_from_the_datastore_and_not_from_memory",
        "it was not refused",
    ),
    Killed(
        "guest_disk_in_clear",
        f"{_ESX}/test_vms.py::test_an_encrypted_vm_works_and_its_data_is_nowhere_in_clear",
        "KSGUEST1",
    ),
    Killed(
        "version_not_raised",
        f"{_ESX}/test_versions.py::test_whatever_changes_in_a_view_is_another_version",
        "UpdateSet(version='1/1'",
    ),
    Killed(
        "version_without_life",
        f"{_ESX}/test_versions.py::test_a_version_of_an_earlier_life_is_none_of_this_one[stop]",
        "assert False",
    ),
    Killed(
        "old_session_accepted",
        f"{_ESX}/test_uplink.py::test_keys_of_a_late_command_do_not_arrive",
        "it was not refused",
    ),
    Killed(
        "old_vcenter_boot_accepted",
        f"{_ESX}/test_uplink.py::test_a_reboot_of_either_side_ends_the_session",
        "it was not refused",
    ),
    Killed(
        "first_key_decides",
        f"{_ESX}/test_search.py::test_vcenter_brings_one_key_whatever_the_other_needs[home]",
        "error.keys == (foreign,)",
    ),
    Killed(
        "strangers_may_speak",
        f"{_ESX}/test_uplink.py::test_only_its_vcenter_and_its_own_console_may_speak",
        "it was not refused",
    ),
    Killed(
        "autostart_without_window",
        f"{_ESX}/test_autostart.py::test_keys_that_arrive_later_unlock_and_power_nothing_on",
        "poweredOn",
    ),
    Killed(
        "power_off_forgotten",
        f"{_ESX}/test_autostart.py::test_a_vm_that_was_powered_off_stays_off",
        "poweredOn",
    ),
    # vCenter: locks, providers, values.
    Killed(
        "vcenter_keeps_values",
        f"{_VC}/test_events.py::test_kms_lost_then_host_reboot_then_kms_back",
        "KMSClusterError",
    ),
    Killed(
        "locks_running_vm",
        f"{_VC}/test_events.py::test_a_running_vm_is_never_locked",
        "VMLocked.KMSClusterError",
    ),
    Killed(
        "unlock_powers_on",
        f"{_VC}/test_unlock.py::test_kms_back_unlocks_at_the_next_check",
        "poweredOn",
    ),
    Killed(
        "state_check_skipped",
        f"{_VC}/test_events.py::test_key_not_active[Compromised]",
        "issingOnKMS",
    ),
    Killed(
        "runner_not_believed",
        f"{_VC}/test_whereabouts.py::test_restarted_elsewhere_then_both_there_then_power_cycled",
        "poweredOff",
    ),
    Killed(
        "unused_keys_stay",
        f"{_VC}/test_registration.py::test_a_host_that_was_away_drops_the_key_when_it_is_back",
        "not in",
    ),
    Killed(
        "no_eviction",
        f"{_VC}/test_providers.py::test_grace_then_eviction_then_the_cure_by_name",
        "kms-key-2",
    ),
    Killed(
        "eviction_at_once",
        f"{_VC}/test_providers.py::test_no_eviction_by_knob_and_grace_counts_over_a_crash",
        "kms-key-2",
    ),
    Killed(
        "reconcile_never",
        f"{_VC}/test_unlock.py::test_kms_back_unlocks_at_the_next_check",
        "'locked'",
    ),
    Killed(
        "vcenter_answers_early",
        f"{_DURABLE}::test_a_vcenter_without_power_knows_all_it_answered",
        "assert None == CryptoKeyId",
    ),
    Killed(
        "silence_unnoticed",
        f"{_VC}/test_connection.py::test_a_cut_link_heals_without_anybodys_help",
        "NOT_RESPONDING",
    ),
    Killed(
        "damaged_key_sinks_batch",
        f"{_VC}/test_each_key.py::test_one_damaged_key_of_many_is_the_only_one_that_does_not_come",
        "assert [] == [",
    ),
    Killed(
        "every_provider_is_standard",
        f"{_VC}/test_capabilities.py"
        "::test_a_key_born_on_the_host_is_named_by_the_host[trustAuthority]",
        "NotAvailable",
    ),
    Killed(
        "doorbell_unheard",
        f"{_VC}/test_connection.py"
        "::test_a_host_that_rings_is_looked_at_and_disturbed_only_if_need_be",
        "CheckForUpdates",
    ),
    Killed(
        "event_apart",
        f"{_VC}/test_one_transaction.py::test_what_changed_and_what_tells_of_it_are_one_commit",
        "told: []",
    ),
    # The key server.
    Killed(
        "kms_answers_early",
        f"{_DURABLE}::test_a_key_server_without_power_has_every_key_it_answered",
        "kms is halted",
    ),
    Killed(
        "creates_made_twice",
        f"{_KMS}/test_keys.py::test_repeat_is_the_same_key",
        "KeyCreated(",
    ),
    Killed("destroyed_key_served", f"{_KMS}/test_keys.py::test_tombstone", "KmipState.ACTIVE"),
    Killed(
        "refusal_not_audited",
        f"{_KMS}/test_access.py::test_refusals_are_written_down_and_read_by_scope",
        "sion Denied",
    ),
    Killed(
        "row_tag_unchecked",
        f"{_KMS}/test_rest.py::test_altered_database_is_noticed_at_start[scope]",
        "DID NOT RAISE",
    ),
    Killed(
        "other_scope_seen",
        f"{_KMS}/test_access.py::test_one_key[Destroy-operator]",
        "'ItemNotFound'",
    ),
    Killed(
        "batch_half_done",
        f"{_KMS}/test_batch.py::test_what_fails_undoes_what_went_before_it",
        "'Success'",
    ),
    Killed(
        "pages_by_count",
        f"{_KMS}/test_pages.py::test_audit_rows_with_long_ids_come_in_pages",
        "is over the limit of",
    ),
    Killed(
        "knob_range_unchecked",
        "tests/services/test_knobs.py::"
        "test_a_bad_value_is_refused_with_the_knob_the_value_and_its_range[heartbeat_s-3601]",
        "is not 0.1 to 3600 s",
    ),
    Killed(
        "pair_answers_early",
        f"{_KMS}/test_pair_partitions.py::test_both_agree_whatever_came",
        "which is not marked",
    ),
    Killed(
        "mark_in_memory",
        f"{_KMS}/test_pair.py::test_the_mark_outlives_a_crash_of_who_made_it",
        "waiting=0",
    ),
    Killed(
        "last_state_wins",
        f"{_KMS}/test_merging.py::test_both_agree_and_keep_what_is_their_own",
        "replace(mirrored",
    ),
    Killed(
        "other_material_taken",
        f"{_KMS}/test_pair.py::"
        "test_what_never_changes_of_a_key_is_refused_when_the_peer_says_otherwise[index]",
        "refused",
    ),
    Killed(
        "anchor_behind",
        f"{_KMS}/test_rollback.py::test_one_change_less_is_noticed[revoke]",
        "DID NOT RAISE",
    ),
    Killed(
        "anchor_uncounted",
        f"{_KMS}/test_rollback.py::test_a_whole_disk_put_back_is_noticed_by_the_tpm[tpm]",
        "the TPM is at",
    ),
    Killed(
        "refusals_uncounted",
        f"{_KMS}/test_refusals.py::test_a_flood_of_a_stranger_is_counted",
        "968",
    ),
    # The bus, on the simulation's broker.
    Killed("flood_takes_all", f"{_BUS}::test_busy[sim]", "console"),
    Killed("ingress_ignored", f"{_FORGERY}::test_cut_in_flight[sim]", "came through the cut"),
    Killed("egress_ignored", f"{_BUS}::test_cut[sim]", "0 == 1"),
    Killed("first_rule_decides", f"{_BUS}::test_chains[sim]", "DID NOT RAISE"),
    Killed("duplicates_run_twice", f"{_BUS}::test_delay_and_duplicates[sim]", "2 == 1"),
    Killed("late_requests_run", f"{_BUS}::test_deadlines[sim]", "'late'"),
    Killed("forged_reply_subject", f"{_BUS}::test_forged[sim]", "'versions'"),
    Killed("forged_reply_accepted", f"{_FORGERY}::test_forged_reply[sim]", "0 == 2"),
    Killed("box_bound_to_nothing", f"{_FORGERY}::test_replayed_box[sim]", "redacted"),
    Killed("box_not_bound_to_body", f"{_FORGERY}::test_swapped_ids[sim]", "DID NOT RAISE"),
    Killed(
        "capsule_bound_to_nobody",
        "tests/protocol/crypto/test_contexts.py"
        "::test_a_reply_opens_in_the_life_that_asked_and_in_no_other",
        "DID NOT RAISE",
    ),
    Killed(
        "kept_key_bound_to_nothing",
        f"{_KMS}/test_bindings.py::test_facts_that_never_change_are_bound[key_id]",
        "DID NOT RAISE",
    ),
    Killed(
        "wrapped_dek_bound_to_nothing",
        f"{_ESX}/test_bindings.py::test_the_wrapped_keys_of_a_vm_cannot_change_places",
        "DID NOT RAISE",
    ),
    Killed("old_rules_accepted", f"{_BUS}::test_late_epochs[sim]", "TimedOut"),
    Killed(
        "permissions_ignored",
        "tests/services/runtime/sim/test_wire.py::test_another_name_is_refused_and_counted[random]",
        "l.c.b.q",
    ),
    Killed(
        "secret_shown",
        "tests/protocol/test_secret.py::test_no_text_of_it_has_its_bytes",
        "assert not True",
    ),
    # Faults.
    Killed(
        "fault_saved_late",
        f"{_CHAOS}/test_keeper.py::test_a_controller_that_dies_in_the_middle_has_saved_enough",
        "'beginning'",
    ),
    Killed(
        "lease_never_lapses",
        f"{_CHAOS}/test_keeper.py::test_a_lease_that_is_not_renewed_ends_the_fault",
        "('wan',)",
    ),
    Killed(
        "heal_unverified",
        f"{_CHAOS}/test_keeper.py::test_a_heal_that_is_not_seen_keeps_the_fault_listed",
        "healed=('wan',)",
    ),
    Killed(
        "heals_believed",
        f"{_CHAOS}/test_bad_labs.py::test_its_checks_tell_a_good_lab_from_bad_ones",
        "== ()",
    ),
    Killed(
        "bites_believed",
        f"{_CHAOS}/test_bad_labs.py::test_its_checks_tell_a_good_lab_from_bad_ones",
        "DID NOT RAISE",
    ),
    # Verdicts.
    Killed(
        "silent_guest_works",
        f"{_CHAOS}/test_probes.py::test_what_it_measures[vm.works power_off 0.5]",
        "1.0 == 0.5",
    ),
    Killed(
        "blind_probe_holds",
        f"{_CHAOS}/test_evidence.py::test_a_probe_that_was_mostly_blind_has_not_been_seen_to_hold",
        "'unknown'",
    ),
    Killed(
        "bound_the_wrong_way",
        f"{_CHAOS}/test_tolerance.py::test_each_comparison_on_both_sides_of_its_bound",
        "(False, False, True)",
    ),
    Killed(
        "guests_unread_at_the_end",
        f"{_CHAOS}/test_evidence.py::test_a_guest_whose_rewrite_was_lost_fails_the_run_at_its_end",
        "'pass'",
    ),
    Killed(
        "chain_uncompared",
        f"{_CHAOS}/test_history.py::test_a_line_that_says_something_else_is_found",
        "record 7: the end was changed",  # only the seal of the end tells
    ),
    Killed(
        "second_try_gone",
        f"{_CHAOS}/test_engine.py"
        "::test_what_could_not_be_healed_at_first_is_tried_once_more_and_is_not_left",
        "NotFound: esxi-001: InvalidState: not yet",
    ),
    Killed(
        "failed_heal_unsaved",
        f"{_CHAOS}/test_keeper.py::test_that_a_heal_was_not_seen_is_saved",
        "'active'",
    ),
    Killed(
        "asker_unjudged",
        "tests/lab/brokers/test_control_plane.py"
        "::test_what_the_broker_should_not_have_let_through_is_not_done",
        "assert Counter(",
    ),
    Killed(
        "may_have_happened_is_failed",
        f"{_CHAOS}/test_evidence.py::test_how_an_operation_ends",
        "'fail' == 'info'",
    ),
    # Order, and ends of lives.
    Killed(
        "save_covers_too_much",
        f"{_ESX}/test_answered.py"
        "::test_what_a_host_answered_survives_a_loss_of_power_behind_the_answer",
        "acknowledged, and gone",
    ),
    Killed(
        "keystore_queue_gone",
        f"{_ESX}/test_order.py::test_keys_that_are_added_and_removed_back_to_back",
        "(True, True) == (False, False)",
    ),
    Killed(
        "turn_after_deadline",
        f"{_ESX}/test_order.py::test_what_comes_to_its_turn_after_its_deadline_is_not_done",
        "isinstance(KeysRemoved",
    ),
    Killed(
        "lock_kept_after_failed_start",
        f"{_ESX}/test_order.py::test_a_vm_whose_start_failed_is_free_for_another_host",
        "not in {'vm-01'",
    ),
    Killed(
        "two_host_keys",
        f"{_VC}/test_races.py::test_two_hosts_that_need_a_host_key_at_once_get_one",
        "4 == 3",
    ),
    Killed(
        "earlier_boot_believed",
        f"{_VC}/test_connection.py"
        "::test_a_host_that_rings_is_looked_at_and_disturbed_only_if_need_be",
        "OpenSession",
    ),
    Killed(
        "refusal_keeps_session",
        f"{_VC}/test_connection.py::test_a_host_that_refuses_the_session_is_connected_anew_at_once",
        "'vcenter/1/1' not in",
    ),
)

IN_RUNS = IN_MOVES | frozenset(
    {
        "trusted_keys_through_vcenter",
        "first_key_server_only",
        "speaks_as_another",
        *("dice_urandom", "dice_random"),
        "dice_time",
        "event_text_random",
        "record_with_pid",
        "order_by_hash",
        "finaliser_pokes",
        "reaches_outside",
        "exception_unhandled",
        "says_it_runs",
    }
)
"""Seen by whole runs: ``test_planted``, ``tests/e2e/test_experiments``."""

IN_CAMPAIGNS = frozenset(entry.bug for entry in FOUND)
"""Seen by random runs, and by what is left of those: ``test_found``."""

IN_SWEEPS = frozenset(
    {
        "archive_append_unsynced",
        "archive_file_unsynced",
        "archive_folder_unsynced",
        "archive_in_place",
        "archive_keeps_a_copy",
        "archive_refusal_unsaid",
        "archive_sync_believed",
        "boot_settles_nothing",
        "destroyed_stays_in_pages",
        *("keys_answered_early", "kms_refusal_unsaid", "old_root_stays"),
        "master_key_unsynced",
        "seals_unmeasured",
        "torn_piece_accepted",
        "unfinished_archive_read",
        "inventory_unsealed",
        "vcenter_shows_unsaved",
    }
)
"""Seen when every storage call is struck: ``tests/sweep``."""

IN_MATRIX = frozenset(entry.bug for entry in TURNED)
"""Seen by the cells that each turns red: ``test_matrix``."""

NO_BUG = frozenset({"key_leaks"})
"""Those that break no single rule: this one serves ``tests/scan``."""
