"""The times of a play, in lab seconds at the defaults of the knobs."""

from __future__ import annotations

from typing import Final

RECONCILE_S: Final = 300.0
"""``remediation_interval_s``: providers and keys of hosts are compared and repaired that often."""
SETTLED_S: Final = RECONCILE_S + 60.0
"""What must still be so is looked at again after it; what must come back has come by then."""

PREPARED_S: Final = 120.0
"""A task of vCenter that prepares a staging is done by then."""
PREPARE_S: Final = 5.0
"""After the end of a pass, the host without the key is made."""
FAULT_S: Final = 10.0
"""After the end of a pass, the fault begins: t0."""
EVENT_S: Final = 30.0
"""After t0, the event is asked for."""
EVICTED_S: Final = 660.0
"""After t0, keys of a deleted provider have left every host."""

TOKEN_S: Final = 3600.0
"""The lifetime of a token in the labs of trusted blocks, in which each lab second is played; the
knob's own value is eight hours."""
EXPIRED_S: Final = TOKEN_S + 60.0
"""After t0, every token of before has expired."""
RETRIED_S: Final = 90.0
"""A trusted host has asked again for what it lacks (``trust_retry_s``)."""
BOOT_LIMIT_S: Final = 120.0
"""A boot that takes longer makes the play void."""
AT_ONCE_S: Final = 10.0
"""After a boot, under F7: while keys of the deleted provider are still there."""
TASK_S: Final = 60.0
"""Window of a power-on, and of deliveries."""
CREATE_S: Final = 120.0
MOVE_S: Final = 120.0
SWITCH_OVER_S: Final = 10.0
"""A guest that moves stands still for no longer than that."""
RUN_S: Final = 900.0
RUN_STEP_S: Final = 30.0
PAST_TOKEN_S: Final = 600.0
"""A VM that runs is looked at so long after the tokens of its host have expired."""
HA_AGAIN_S: Final = 360.0
HA_TRIES: Final = 5
"""HA tries within a minute after the failure, then again and again, and gives up (knob C23)."""
HA_LOOK_S: Final = 10.0
"""How often it is looked whether HA has tried."""
HA_SOON_S: Final = 180.0
HA_ALL_S: Final = 1860.0
"""After the failure, a VM whose key is there runs again; and the last try is over."""
FIRST_SIGHT_S: Final = 60.0
"""After its first contact with a host, a vCenter that returned has marked what it cannot supply."""
AGAIN_S: Final = 10.0
"""Between two looks at what shall come to be so."""
