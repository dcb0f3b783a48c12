"""The knobs of a host."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from services.runtime.knobs import LONGEST_S, SECONDS, SharedKnobs, knob
from services.runtime.service import ServiceNode

Pcr = Annotated[int, knob("The number of a platform configuration register.", least=0, most=23)]


class EsxiKnobs(SharedKnobs, frozen=True, kw_only=True):
    """Settings of a host that the product's documents leave open."""

    persist_on_enable: Annotated[
        bool,
        knob(
            "Enabling key persistence stores what the key cache holds already.",
            rule="C5",
            instead="false: only keys that come afterwards survive the next boot.",
        ),
    ] = True
    disable_keeps_store: Annotated[
        bool,
        knob(
            "Disabling key persistence without the flag keeps the store, unused until it is "
            "enabled again.",
            rule="C9",
            instead="false: the store is emptied in any case.",
        ),
    ] = True
    store_follows_cache: Annotated[
        bool,
        knob(
            "A key that is removed from the cache leaves the store too.",
            rule="C10",
            instead="false: a removed key is back after the next boot.",
        ),
    ] = True
    kp_native_without_tpm: Annotated[
        bool,
        knob(
            "Key persistence may be enabled on a host without TPM if all providers are native.",
            rule="C19",
            instead="false: a host without TPM refuses it in any case.",
        ),
    ] = True
    config_save: Annotated[
        Literal["immediate", "hourly"],
        knob(
            "Whether new keys force the configuration to disk at once.",
            rule="C11",
            instead="hourly: a loss of power takes the keys since the last scheduled save.",
        ),
    ] = "immediate"
    config_save_period_s: Annotated[
        float,
        knob(
            "The scheduled backup of the configuration runs that often.",
            unit=SECONDS,
            least=1,
            most=LONGEST_S,
            rule="DUR-01",
        ),
    ] = 3600.0
    archive_counter: Annotated[
        bool,
        knob(
            "A counter in the TPM numbers the configuration archives of mode TPM, so that a boot "
            "stops at an older one that was put back. The product promises no such thing."
        ),
    ] = False
    seal_pcrs: Annotated[
        tuple[Pcr, ...],
        knob(
            "PCRs of the policy that seals the configuration key.",
            count=(1, 24),
            rule="C18",
            instead="[0, 2, 4, 7]: other firmware or another build stops the next boot.",
        ),
    ] = (7,)
    reqeio_needs_reqsb: Annotated[
        bool,
        knob(
            "Requiring installed executables only presumes that Secure Boot is required.",
            rule="C20",
            instead="false: it can be required alone.",
        ),
    ] = True
    boot_step_s: Annotated[
        float,
        knob(
            "The firmware, and each of the boot's steps B4 to B8, takes that long.",
            unit=SECONDS,
            least=0,
            most=3600,
            rule="BOOT-02",
        ),
    ] = 5.0
    autostart_window_s: Annotated[
        float,
        knob(
            "After a boot, VMs that should run are tried again that long, then never again.",
            unit=SECONDS,
            least=0,
            most=LONGEST_S,
            rule="LOCK-05",
        ),
    ] = 60.0
    persist_overrides_attestation: Annotated[
        Literal["always", "unreachable_only", "never"],
        knob(
            "An unattested trusted host may power on VMs whose keys it has: always, only when no "
            "Attestation Service can be reached, or never.",
            rule="C6",
            instead="always: no refusal keeps a VM off. never: nor does it start in an outage.",
        ),
    ] = "unreachable_only"
    unattested_blocks: Annotated[
        Literal["encrypted", "all"],
        knob(
            "Which VMs an unattested trusted host may not power on: those with keys of a trusted "
            "provider, or all.",
            rule="C7",
            instead="all: VMs that are not encrypted stay off too.",
        ),
    ] = "encrypted"
    token_renew: Annotated[
        Literal["on_demand", "ahead"],
        knob(
            "When a trusted host attests again: when it needs a key and has no token, or before a "
            "token ends, with a tenth of its life left.",
            rule="C12",
            instead="ahead: an outage of the Attestation Services finds tokens that are younger.",
        ),
    ] = "on_demand"
    rewrap_dumps: Annotated[
        bool,
        knob(
            "Core dumps under the old host key are wrapped anew when it changes, if it is there.",
            rule="C27",
            instead="false: they stay under the old key, and cannot be read from then on.",
        ),
    ] = True
    trust_retry_s: Annotated[
        float,
        knob(
            "A trusted host asks that often again for keys that it asked for in vain.",
            unit=SECONDS,
            least=1,
            most=LONGEST_S,
            rule="KPS-06",
        ),
    ] = 60.0
    fdm_period_s: Annotated[
        float,
        knob(
            "The primary HA agent asks the others for a sign of life that often (the product does "
            "each second); three misses make a host silent.",
            unit=SECONDS,
            least=0.1,
            most=600,
            rule="HA-01",
        ),
    ] = 5.0
    ha_retry: Annotated[
        int,
        knob(
            "HA tries to restart a VM that often.",
            least=1,
            most=100,
            rule="C23",
            instead="A VM whose keys come back after the last try stays off.",
        ),
    ] = 5
    ha_retry_interval_s: Annotated[
        float,
        knob(
            "HA tries a VM whose restart was refused again after it.",
            unit=SECONDS,
            least=1,
            most=LONGEST_S,
            rule="C23",
            instead="The tries last longer, or are over sooner.",
        ),
    ] = 360.0
    ha_isolation_response: Annotated[
        Literal["none", "powerOff"],
        knob(
            "What an isolated host does with its VMs: leaves them on, or powers them off so that "
            "HA restarts them elsewhere.",
            rule="HA-02",
        ),
    ] = "none"
    workload_period_s: Annotated[
        float,
        knob(
            "Each running guest reads, checks and rewrites its disk that often; 0 is never.",
            unit=SECONDS,
            least=0,
            most=LONGEST_S,
        ),
    ] = 30.0


class EsxiNode(ServiceNode, Protocol):
    """The node that drives a host."""

    @property
    def knobs(self) -> EsxiKnobs: ...
