"""Every answer to an open question of the product has a test that sees what it changes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final, Literal, get_args, get_origin, get_type_hints

import pytest

from services.knobs import KNOBS, table

TESTS: Final = Path(__file__).resolve().parents[1]
_ESX, _VC, _TRUST = "services/esxi", "services/vcenter", "services/trust/test_story.py"
_STORY: Final = f"{_TRUST}::test_which_vms_an_unattested_host_may_not_start"

SEEN: Final[dict[str, dict[object, str]]] = {
    "host_key_scope": {"host": f"{_VC}/test_encrypt.py::test_one_host_key_per_host_by_knob"},
    "provider_delete_grace_s": {
        1200.0: f"{_VC}/test_providers.py::test_a_longer_grace_leaves_keys_longer"
    },
    "evict_on_provider_delete": {
        False: f"{_VC}/test_providers.py::test_no_eviction_by_knob_and_grace_counts_over_a_crash"
    },
    "persist_on_enable": {
        False: f"{_ESX}/test_keys.py::test_enable_by_the_other_knob_stores_only_what_comes_later"
    },
    "persist_overrides_attestation": {
        "always": f"{_TRUST}::test_a_refused_host_with_persisted_keys_powers_nothing_on",
        "never": f"{_TRUST}::test_after_its_token_a_host_that_reaches_no_service",
    },
    "unattested_blocks": {"all": _STORY},
    "disable_keeps_store": {False: f"{_ESX}/test_knob_values.py::test_disabling_without_the_flag"},
    "store_follows_cache": {
        False: f"{_ESX}/test_keys.py::test_by_the_other_knob_a_removed_key_stays_stored_and_is_used"
    },
    "config_save": {
        "hourly": f"{_ESX}/test_archive.py::"
        "test_the_hourly_knob_loses_exactly_the_keys_since_the_last_save"
    },
    "token_lifetime_s": {600.0: f"{_TRUST}::test_after_its_token_a_host_that_reaches_no_service"},
    "token_renew": {"ahead": f"{_TRUST}::test_when_a_token_is_renewed"},
    "max_trusted_clusters": {1: "e2e/test_knobs.py::test_how_many_trusted_clusters_there_may_be"},
    "kps_primary_key_cache": {
        True: f"{_TRUST}::test_the_key_server_is_asked_each_time_unless_the_knob_says_otherwise"
    },
    "vc_key_cache_s": {
        3600.0: f"{_VC}/test_kept_values.py::test_what_is_kept_is_brought_without_the_key_server"
    },
    "auto_unlock": {
        False: f"{_VC}/test_unlock.py::test_without_the_knob_nothing_unlocks_by_itself"
    },
    "host_key_renewal": {False: f"{_VC}/test_providers.py::test_no_renewal_by_knob"},
    "seal_pcrs": {
        (0, 2, 4, 7): f"{_ESX}/test_boot.py::"
        "test_another_build_and_another_firmware_boot_but_a_strict_policy_stops_them"
    },
    "kp_native_without_tpm": {
        False: f"{_ESX}/test_knob_values.py::test_persistence_of_a_native_host_without_tpm"
    },
    "reqeio_needs_reqsb": {
        False: f"{_ESX}/test_knob_values.py::test_executables_are_enforced_without_secure_boot"
    },
    "failover_on_missing": {True: f"{_VC}/test_providers.py::test_missing_on_one_server"},
    "ha_retry": {3: f"{_ESX}/test_ha.py::test_it_gives_up_after_the_last_try"},
    "ha_retry_interval_s": {
        40.0: f"{_ESX}/test_ha.py::test_a_host_that_refused_is_left_for_another_at_the_next_try"
    },
    "vsan_kek_scope": {
        "diskGroup": "e2e/test_vsan_groups.py::"
        "test_each_disk_group_has_a_key_of_its_own_from_rekey_to_rekey"
    },
    "vsan_rekey_with_absent_host": {
        "leave": "e2e/test_knobs.py::test_vsan_is_rekeyed_without_a_host_that_makes_up_for_it"
    },
    "vsan_provider_delete": {
        "remove": "e2e/test_knobs.py::test_a_provider_that_vsan_uses_is_deleted"
    },
    "rewrap_dumps": {False: f"{_ESX}/test_knob_values.py::test_dumps_of_the_old_host_key"},
    "believe_reports_of_other_clusters": {
        True: f"{_VC}/test_disbelief.py::test_with_the_knob_it_does_as_in_the_product"
    },
}
"""By knob and value, the test that is another one at the default. Only whole answers are listed: a
number stands for all numbers."""


def others(name: str) -> set[object]:
    """The values of a knob but its default; empty for a number."""
    row = table()[name]
    kind = get_type_hints(KNOBS[row.read_by[0]])[name]
    if kind is bool:
        return {not row.default}
    if get_origin(kind) is not Literal:
        return set()
    return {value for value in get_args(kind) if value != row.default}


def questions() -> list[str]:
    """Knobs that answer an open question."""
    return [row.name for row in table().values() if re.fullmatch(r"C\d+", row.rule)]


@pytest.mark.parametrize("name", questions())
def test_each_of_its_other_values_is_seen_by_a_test(name: str) -> None:
    seen = SEEN[name]
    assert seen and others(name) <= seen.keys()
    for value, id in seen.items():
        assert value != table()[name].default
        file, _, test = id.partition("::")
        tree = ast.parse((TESTS / file).read_text())
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        [found] = [n for n in tree.body if isinstance(n, kinds) and n.name == test]
        text = (TESTS / file).read_text()
        assert name in text, f"{file} sets no {name}"
        assert found.body


def test_nothing_is_listed_that_is_no_question() -> None:
    assert SEEN.keys() == set(questions())
