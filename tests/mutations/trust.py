"""The planted bugs of the trusted provider: mutation, test, and what it says (``table.Killed``)."""

from __future__ import annotations

from typing import Final

_TRUST: Final = "tests/services/trust"

TRUST: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "foreign_group_accepted",
        f"{_TRUST}/test_key_provider.py::test_an_issuer_of_another_group_is_not_accepted",
        "was not refused",
    ),
    (
        "event_log_not_replayed",
        f"{_TRUST}/test_attestation.py::test_a_log_that_does_not_lead_to_the_registers_is_refused",
        "EVENT_LOG",
    ),
    (
        "event_bodies_believed",
        f"{_TRUST}/test_attestation.py::test_a_log_that_lies_in_its_bodies_is_refused",
        "EVENT_BODY",
    ),
    (
        "reset_counter_forgotten",
        f"{_TRUST}/test_attestation.py::test_counters_that_went_back_are_refused_for_good",
        "RESET_COUNTER",
    ),
    (
        "image_not_compared",
        f"{_TRUST}/test_attestation.py::test_a_build_that_is_not_imported_is_refused_until_it_is",
        "BASE_IMAGE",
    ),
    (
        "token_not_checked",
        f"{_TRUST}/test_key_provider.py::test_a_forged_token_gets_no_key",
        "was not refused",
    ),
    (
        "reporting_token_authorizes",
        f"{_TRUST}/test_key_provider.py::test_a_token_that_is_no_good_gets_no_key",
        "was not refused",
    ),
    (
        "primary_key_kept",
        f"{_TRUST}/test_key_provider.py::test_whether_it_keeps_the_primary_key",
        "was not refused",
    ),
    (
        "secure_boot_anywhere",
        f"{_TRUST}/test_lies.py::test_secure_boot_is_what_its_register_says",
        "SECURE_BOOT",
    ),
    (
        "lent_tpm_attested",
        f"{_TRUST}/test_clones.py::test_a_tpm_that_is_lent_attests_one_host_only",
        "ENDORSEMENT_KEY",
    ),
    (
        "lost_change_kept",
        f"{_TRUST}/test_administration_falls.py"
        "::test_what_a_judge_has_and_nobody_wanted_is_taken_back_whatever_its_number",
        "well()",
    ),
    (
        "token_survives_reboot",
        f"{_TRUST}/test_story.py::test_without_its_vcenter_a_host_boots_safe_and_starts_its_vms",
        "attestation.passed",
    ),
    (
        "trust_services_unasked",
        "tests/services/vcenter/test_trust_watch.py::"
        "test_what_a_host_is_told_is_told_within_a_period_and_once",
        "KMS_TA_",
    ),
)
