"""Knobs: behaviour that the product's documents leave open (behaviour section 15).

The table below is their documentation too: one line per knob. Times are lab seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.errors import InvalidArgument


class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All knobs with their defaults; made once per node at the edge of the lab."""

    host_key_scope: str = "cluster"  # C2: cluster | host
    provider_delete_grace_s: float = 300.0  # C4: keys of a deleted provider stay that long
    evict_on_provider_delete: bool = True  # C4: and then leave caches and stores
    persist_on_enable: bool = True  # C5: enabling stores what the cache holds already
    disable_keeps_store: bool = True  # C9: disable without the flag keeps the store, unused
    store_follows_cache: bool = True  # C10: a removed key leaves the store too
    config_save: str = "immediate"  # C11: immediate | hourly, for keys
    config_save_period_s: float = 3600.0  # DUR-01: the scheduled backup
    vc_key_cache_s: float = 0.0  # C15: 0 = vCenter keeps ids only; others are not built
    auto_unlock: bool = True  # C16: reconcile unlocks by itself
    host_key_renewal: bool = True  # C17: renew a missing host key if the default provider works
    seal_pcrs: tuple[int, ...] = (7,)  # C18: PCRs of the sealing policy
    kp_native_without_tpm: bool = True  # C19
    reqeio_needs_reqsb: bool = True  # C20: exec-only presumes Secure Boot enforcement
    failover_on_missing: bool = False  # C22: ask another server when a key is missing on one
    remediation_interval_s: float = 300.0  # STD-10: vpxd.KMS.remediationInterval
    kms_health_interval_s: float = 300.0  # STD-09
    heartbeat_s: float = 10.0  # vCenter asks each host; three misses = notResponding
    request_timeout_s: float = 10.0  # a call between services
    max_key_providers: int = 32  # section 13
    boot_step_s: float = 5.0  # BOOT-02: firmware and each of B4..B8 take that long
    autostart_window_s: float = 60.0  # B9: a boot's autostart retries that long, then never again
    workload_period_s: float = 30.0  # each running guest reads, checks and rewrites; 0 = never


def knobs_from(values: Mapping[str, Any]) -> Knobs:
    """Knobs with these values; ``InvalidArgument`` names an unknown knob or a wrong value."""
    try:
        made = msgspec.convert(dict(values), Knobs, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"knob: {error}") from None
    for name, allowed in (
        ("host_key_scope", ("cluster", "host")),
        ("config_save", ("immediate", "hourly")),
    ):
        if getattr(made, name) not in allowed:
            raise InvalidArgument(f"knob {name}: {getattr(made, name)!r} is none of {allowed}")
    if made.vc_key_cache_s != 0:
        raise InvalidArgument("knob vc_key_cache_s: only 0 is built (vCenter keeps ids only)")
    return made
