"""The assertions A01 to A30: one place to touch for one more.

An *assertion* has a play, or it is not built and says what it needs. A play makes labs of its
bench, does what the assertion is about, and looks; it answers with what was seen in few words, or
raises ``Violated``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from lab.conformance import native, standard, store, vsan
from lab.conformance.bench import Bench

Play = Callable[[Bench], Awaitable[str]]


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """Without a play it is not built, and ``needs`` something."""

    id: str
    title: str
    play: Play | None = None
    needs: str = ""


def _row(id: str, title: str, what: Play | str) -> Assertion:
    if isinstance(what, str):
        return Assertion(id=id, title=title, needs=what)
    return Assertion(id=id, title=title, play=what)


_OWN: Final = "a play of its own"
_SEARCH: Final = "a search of disks and bus inside of the command"
_TRUSTED: Final = "a play on the lab trusted"

ASSERTIONS: Final = (
    _row("A01", "no running VM notices who is away", standard.outage_without_reboot),
    _row("A02", "without stored keys a host waits after its reboot", standard.reboot_without_store),
    _row("A03", "with stored keys a host needs nobody after its reboot", store.reboot_with_store),
    _row("A04", "a key that a host never had is not there after its reboot", _OWN),
    _row("A05", "removed stored keys are gone at the next boot", store.reboot_after_removal),
    _row("A06", "without its TPM a host's disk gives no key", _SEARCH),
    _row("A07", "a boot that breaks the sealing policy stops; the recovery key opens", _OWN),
    _row("A08", "a wrong or an old recovery key opens nothing", store.recovery_keys),
    _row("A09", "vCenter's disk has no key of a standard or trusted provider", _SEARCH),
    _row("A10", "a refused, expired or foreign token gets no trusted key", _TRUSTED),
    _row("A11", "trusted hosts need no vCenter to reboot", _TRUSTED),
    _row("A12", "native: all hosts reboot without vCenter", native.reboot_without_vcenter),
    _row("A13", "a native provider is used after its backup only", native.used_after_backup),
    _row("A14", "a key provider is its name", _OWN),
    _row("A15", "a lost home key locks a VM, a lost disk key only its start", _OWN),
    _row("A16", "one key server of two is enough", standard.one_server_of_two),
    _row("A17", "a recrypted VM needs its old key no more", _OWN),
    _row("A18", "a deep recrypt is refused while the VM runs or has snapshots", _OWN),
    _row("A19", "a deleted key provider takes nothing from what runs", _OWN),
    _row("A20", "vSAN hosts get the keys of their disks themselves", vsan.who_mounts_disks),
    _row("A21", "after the heal all is as if nothing had happened", "two runs that are compared"),
    _row("A22", "events come in their order", _OWN),
    _row("A23", "the truth table is as observed", "`keystead matrix`, which plays it"),
    _row("A24", "power loss takes the keys since the last hourly save", "the knob of hourly saves"),
    _row("A25", "no host's configuration opens under another's TPM", "foreign disks in a lab"),
    _row("A26", "an encrypted VM moves to a host that is safe only", _OWN),
    _row("A27", "no key travels in clear", _SEARCH),
    _row("A28", "32 key providers, and no 33rd", _OWN),
    _row("A29", "a trusted host that is not attested starts no encrypted VM", _TRUSTED),
    _row("A30", "what an attestation must refuse, it refuses", _TRUSTED),
)
"""All thirty, in their order."""
