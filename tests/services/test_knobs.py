"""Knobs: each says what it is, takes what is in its range, and refuses everything else by name."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
import pytest

from protocol.errors import InvalidArgument
from protocol.terms import Role
from services.esxi.knobs import EsxiKnobs
from services.kms.settings.knobs import KmsKnobs
from services.knobs import KNOBS, faults, knobs_of, near, table
from services.runtime.knobs import Knobs, describe_knobs, knob, read_knobs
from services.vcenter.knobs import VcenterKnobs
from tests.tidy.tree import package_sources

BAD: dict[str, tuple[Any, ...]] = {
    "clone_tpm_provision_policy": ("keep", "", 1, None),
    "host_key_scope": ("datacenter", "", 1, None),
    "host_key_renewal": ("perhaps", 2, None),
    "auto_unlock": ("perhaps", 0.5, None),
    "believe_reports_of_other_clusters": ("perhaps", 0.5, None),
    "provider_delete_grace_s": (-1, 864_001, "soon", True, None),
    "evict_on_provider_delete": ("perhaps", None),
    "vc_key_cache_s": (-1, 864_001, "soon", None),
    "vsan_kek_scope": ("disk", "", 1, None),
    "max_trusted_clusters": (-1, 1001, 1.5, True, None),
    "token_renew": ("never", "onDemand", None),
    "rewrap_dumps": ("perhaps", None),
    "vsan_provider_delete": ("keep", "", 1, None),
    "vsan_rekey_with_absent_host": ("wait", "", 1, None),
    "failover_on_missing": ("perhaps", None),
    "remediation_interval_s": (0, 0.5, 864_001, "30s", None),
    "kms_certificate_warning_days": (-1, 3651, 1.5, True, None),
    "wrapping_key_rotation_days": (29, 3651, 30.5, True, None),
    "kms_health_interval_s": (0, 864_001, None),
    "kmip_connection": ("kept", "", 1, None),
    "group_exchange_s": (0, 864_001, None),
    "rewrap_keys": (0, 10_001, 1.5, None),
    "rewrap_pause_s": (-0.1, 3601, None),
    "persist_on_enable": ("perhaps", None),
    "disable_keeps_store": ("perhaps", None),
    "store_follows_cache": ("perhaps", None),
    "kp_native_without_tpm": ("perhaps", None),
    "config_save": ("never", "Hourly", None),
    "config_save_period_s": (0, 864_001, None),
    "archive_counter": ("perhaps", None),
    "seal_pcrs": ((), (24,), (-1,), (*range(24), 1), "7", 7, (True,), (1.5,), None),
    "reqeio_needs_reqsb": ("perhaps", None),
    "boot_step_s": (-0.1, 3601, None),
    "autostart_window_s": (-1, 864_001, None),
    "workload_period_s": (-1, 864_001, None),
    "fdm_period_s": (0, 601, None),
    "ha_retry": (0, 101, 1.5, None),
    "ha_retry_interval_s": (0, 864_001, None),
    "ha_isolation_response": ("shutdown", "", None),
    "heartbeat_s": (0, -10, 3601, float("nan"), float("inf"), True, "10s", [10], None),
    "request_timeout_s": (0, 3601, None),
    "max_key_providers": (0, 1001, 1.5, True, None),
    "key_gather_s": (-1, 3601, None),
    "pair_timeout_s": (0, 3601, None),
    "pair_retry_s": (0, 864_001, None),
    "persist_overrides_attestation": ("perhaps", "Always", None),
    "unattested_blocks": ("none", None),
    "trust_timeout_s": (0, 3601, None),
    "trust_retry_s": (0, 864_001, None),
    "token_lifetime_s": (0, 864_001, None),
    "attestation_within_s": (0, 3601, None),
    "kps_primary_key_cache": ("perhaps", None),
    "token_leeway_s": (-1, 3601, None),
    "primary_key_timeout_s": (0, 3601, None),
    "kmip_certificate_days": (0, 3651, 1.5, True, None),
    "audit_buffer_s": (-1, 1e9, None),
}
GOOD: dict[str, tuple[tuple[Any, Any], ...]] = {
    "heartbeat_s": ((0.1, 0.1), (3600, 3600.0), ("30", 30.0)),
    "auto_unlock": ((False, False), ("false", False)),
    "believe_reports_of_other_clusters": ((False, False), ("false", False)),
    "config_save": (("hourly", "hourly"),),
    "max_key_providers": ((1, 1), (1000, 1000)),
    "seal_pcrs": (([0, 2, 4, 7], (0, 2, 4, 7)), ((23,), (23,))),
    "vc_key_cache_s": ((0, 0.0), (3600, 3600.0)),
    "vsan_kek_scope": (("cluster", "cluster"), ("diskGroup", "diskGroup")),
    "max_trusted_clusters": ((0, 0), (1, 1)),
}


def roles_with(name: str) -> list[Role]:
    return [role for role, kind in KNOBS.items() if name in kind.__struct_fields__]


def test_every_knob_has_bad_values() -> None:
    assert BAD.keys() == table().keys()


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values])
def test_a_bad_value_is_refused_with_the_knob_the_value_and_its_range(
    name: str, value: object
) -> None:
    said = f"{value!r} is not {table()[name].values}"
    assert faults({name: value}) == {name: said}
    for role in roles_with(name):
        with pytest.raises(InvalidArgument) as refused:
            read_knobs(KNOBS[role], {name: value})
        assert str(refused.value) == f"knob {name}: {said}"


@pytest.mark.parametrize(
    ("name", "value", "taken"), [(n, v, t) for n, values in GOOD.items() for v, t in values]
)
def test_the_ends_of_a_range_are_taken_and_so_is_what_a_shell_gives(
    name: str, value: object, taken: object
) -> None:
    assert faults({name: value}) == {}
    assert {getattr(knobs_of(role, {name: value}), name) for role in roles_with(name)} == {taken}


def test_a_knob_of_an_open_question_says_what_its_other_values_change() -> None:
    rows = table().values()
    questions = [row for row in rows if re.fullmatch(r"C\d+", row.rule)]
    assert len(questions) > 20
    assert [row.name for row in questions if not row.instead.endswith(".")] == []


def test_defaults_are_in_their_ranges() -> None:
    assert faults({name: row.default for name, row in table().items()}) == {}


def test_each_node_reads_its_own_from_the_flat_map() -> None:
    flat = {"heartbeat_s": 5, "auto_unlock": False, "boot_step_s": 1}
    assert read_knobs(VcenterKnobs, flat) == VcenterKnobs(heartbeat_s=5.0, auto_unlock=False)
    assert read_knobs(EsxiKnobs, flat) == EsxiKnobs(heartbeat_s=5.0, boot_step_s=1.0)
    assert read_knobs(KmsKnobs, flat) == KmsKnobs()


@pytest.mark.parametrize("role", Role)
def test_every_role_has_knobs_and_refuses_those_that_nobody_has(role: Role) -> None:
    assert type(knobs_of(role, {})) is KNOBS[role]
    with pytest.raises(InvalidArgument, match=r"no such knob; did you mean heartbeat_s\?"):
        knobs_of(role, {"hartbeat_s": 5})
    with pytest.raises(InvalidArgument, match=r"^knob colour: there is no such knob$"):
        knobs_of(role, {"colour": "red"})


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert set(faults({"colour": 1, "heartbeat_s": 0, "boot_step_s": 2})) == {
        "colour",
        "heartbeat_s",
    }
    assert near("auto_lock") == "; did you mean auto_unlock?"


def test_the_table_says_everything_of_every_knob() -> None:
    rows = table()
    assert list(rows) == sorted(rows)
    for name, row in rows.items():
        assert row.text.endswith("."), name
        assert row.values and row.read_by, name
        assert (row.unit == "s") == name.endswith("_s"), f"{name}: a duration has its unit in it"
    assert rows["heartbeat_s"].read_by == (Role.VCENTER, Role.ESXI)
    assert rows["heartbeat_s"].values == "0.1 to 3600 s"
    assert rows["remediation_interval_s"].rule == "STD-10"


def test_knobs_that_two_services_read_stand_in_one_place() -> None:
    """A field that two structs define on their own could drift apart."""
    for name in table():
        owners = {
            cls.__name__
            for kind in KNOBS.values()
            for cls in kind.__mro__
            if name in vars(cls).get("__annotations__", {})
        }
        assert len(owners) == 1, name


def test_a_field_that_says_nothing_of_itself_is_no_knob() -> None:
    class Bare(Knobs, frozen=True, kw_only=True):
        silent: int = 1

    with pytest.raises(TypeError, match="silent"):
        describe_knobs(Bare)


def test_a_struct_takes_no_knob_of_another() -> None:
    class One(Knobs, frozen=True, kw_only=True):
        own: Annotated[int, knob("Counts.", least=1, most=2)] = 1

    assert read_knobs(One, {"own": 2, "other": "x"}) == One(own=2)
    assert describe_knobs(One)["own"].values == "a whole number, 1 to 2"
    assert msgspec.structs.asdict(describe_knobs(One)["own"])["default"] == 1


def unread(kind: type[Knobs], texts: list[str]) -> list[str]:
    """Knobs that no text reads as ``knobs.NAME``."""
    return [name for name in describe_knobs(kind) if not any(f"knobs.{name}" in t for t in texts)]


@pytest.mark.parametrize("role", Role)
def test_every_knob_is_read_by_its_service(role: Role) -> None:
    texts = [
        source.text
        for source in package_sources()
        if source.path.startswith(f"services/{role}/") and not source.path.endswith("/knobs.py")
    ]
    assert unread(KNOBS[role], texts) == []


def test_a_knob_that_nobody_reads_is_found() -> None:
    assert "heartbeat_s" in unread(EsxiKnobs, ["self.node.knobs.boot_step_s"])
