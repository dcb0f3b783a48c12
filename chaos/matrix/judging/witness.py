"""Whether a letter came from the cause that its reason names: its witness.

Taken from what was said on the data bus, from the audit trails of key servers that are asked by
KMIP, and from the hosts' boot records; never from what the judged service says of itself.
A reason without a reader here has no witness of its own.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from chaos.conversation import Said, fingerprint
from chaos.matrix.judging.account import (
    Account,
    EventCourse,
    Found,
    Witness,
    find_answering_server,
    keys_to,
    not_mounted,
)
from chaos.matrix.judging.letters import SCREEN_A
from chaos.matrix.scene import P
from chaos.oracle.terms import Letter
from protocol.messages.agent import NodeRecord
from protocol.terms import CryptoKeyId, NodeName

# Unwrapped ------------------------------------------------------------------------------------
#
# What a host and a Trust Authority said to each other: did it attest, what did it get? Pure.
#
# Requests and replies are found by who sent them; that a key came is seen by its sealed box, and
# which one was asked for by the fingerprint of its ciphertext, which a key id of a trusted
# provider is.

UNWRAP: Final = "DecryptWrappedKey"
MAKE: Final = "GenerateWrappedKey"
ATTEST: Final = "FinishAttestation"
_CHALLENGED: Final = "BeginAttestation"


def ciphertext_of(key: CryptoKeyId) -> str:
    """The fingerprint of the ciphertext that this key's id is."""
    text = key.key_id.encode()
    return fingerprint(urlsafe_b64decode(text + b"=" * (-len(text) % 4)))


def find_answers(said: Sequence[Said], host: NodeName, name: str) -> Iterator[tuple[Said, Said]]:
    """Requests of that name by the host, each with its answer, errors too."""
    replies = {(one.src, one.id): one for one in said if one.dst == host and one.kind != "request"}
    for one in said:
        if one.src == host and one.kind == "request" and one.name == name:
            if (reply := replies.get((one.dst, one.id))) is not None and reply.t >= one.t:
                yield one, reply


def find_attestation_time(said: Sequence[Said], host: NodeName) -> float | None:
    """When a service first attested the host; None when none did."""
    found = (r.t for _, r in find_answers(said, host, ATTEST) if r.body.get("attested") is True)
    return next(found, None)


def refused(said: Sequence[Said], host: NodeName) -> bool:
    """Whether a service judged the host, and did not attest it."""
    return any(r.body.get("attested") is False for _, r in find_answers(said, host, ATTEST))


def got(said: Sequence[Said], host: NodeName, until: float) -> list[tuple[str, str, float]]:
    """Keys that services gave to the host by ``until``: the name of its request, the fingerprint
    of the ciphertext that it asked for (empty: it asked for a new one), and when."""
    return [
        (asked.name, str(asked.body.get("ciphertext", "")), reply.t)
        for name in (UNWRAP, MAKE)
        for asked, reply in find_answers(said, host, name)
        if reply.kind == "reply" and reply.boxes and reply.t <= until
    ]


def asked_for_nothing(said: Sequence[Said], host: NodeName) -> bool:
    """Whether the host asked no service for a key or to attest it."""
    names = (UNWRAP, MAKE, ATTEST, _CHALLENGED)
    return not any(one.src == host and one.name in names for one in said)


# Trusted witness ------------------------------------------------------------------------------
#
# Witnesses of what a Trust Authority gives and refuses: readers of single reasons.
#
# Taken from what the host and the services said to each other (``unwrapped``).


def keys_unwrapped(about: Account) -> Found:
    """R40, R41, R46: a service of the Trust Authority gave each key to this host, on its own
    request, nobody else gave it one; in a boot that is judged, a service attested it before."""
    course = about.course
    host = course.host
    if brought := [one.name for one in keys_to(about) if one.src not in about.trust]:
        return False, f"{', '.join(brought)} came to it from elsewhere"
    found = got(about.said, host, course.ended)
    at = find_attestation_time(about.said, host)
    if course.power_on is not None and (at is None or any(when < at for _, _, when in found)):
        return False, "no service attested it in this boot before it was given a key"
    if lacking := [
        key for key in course.keys if ciphertext_of(key) not in {c for _, c, _ in found}
    ]:
        return False, f"it had nobody unwrap {len(lacking)} of its {len(course.keys)} keys"
    if not any(name == UNWRAP for name, _, _ in found):
        return False, "nobody unwrapped a key for it"
    return True, f"{len(found)} keys were unwrapped for it, and none came from elsewhere"


def key_made_for_it(about: Account) -> Found:
    """R40, for a new key: a service made one on this host's request, and none came to it from
    elsewhere."""
    course = about.course
    if course.power_on is not None or not course.makes_key:
        return keys_unwrapped(about)
    if brought := [one.name for one in keys_to(about) if one.src not in about.trust]:
        return False, f"{', '.join(brought)} came to it from elsewhere"
    made = [name for name, _, _ in got(about.said, course.host, course.ended) if name == MAKE]
    return bool(made), f"{len(made)} keys were made for it by a service"


def nothing_given(about: Account) -> Found:
    """R44, R48, R53: the host asked services of the Trust Authority, and was given no key."""
    if asked_for_nothing(about.said, about.course.host):
        return False, "it asked no service of the Trust Authority"
    if found := got(about.said, about.course.host, about.course.ended):
        return False, f"{len(found)} keys were given to it"
    return True, "it asked services of the Trust Authority, and was given no key"


def not_attested(about: Account) -> Found:
    """R50, R54: a service judged the host and did not attest it, and it was given no key."""
    if not refused(about.said, about.course.host):
        return False, "no service refused to attest it"
    found = got(about.said, about.course.host, about.course.ended)
    return not found, f"refused by a service; {len(found)} keys were given to it"


def unknown_to_services(about: Account) -> Found:
    """R42: no service attested the host, and it was given no key."""
    if find_attestation_time(about.said, about.course.host) is not None:
        return False, "a service attested it"
    return no_key_yet(about)


def no_key_yet(about: Account) -> Found:
    """R45: nobody gave or brought the host a key, though it is in the inventory."""
    found = got(about.said, about.course.host, about.course.ended)
    came = [one.name for one in keys_to(about)]
    if found or came:
        return False, f"{len(found)} keys were given to it, {', '.join(came) or 'none'} came"
    return True, "no key was given to it"


def no_key_given(about: Account) -> Found:
    """R47: no service gave the host a key while its guest went on: none answers, or one refuses."""
    found = got(about.said, about.course.host, about.course.ended)
    return not found, f"its guest went on; {len(found)} keys were given to it"


def keys_already_there(about: Account) -> Found:
    """R49: what it had, it had before; where it is refused for that, it tried to attest, and no
    service attested it."""
    if not (found := no_key_yet(about))[0] or about.letter == Letter.OK:
        return found
    if asked_for_nothing(about.said, about.course.host):
        return False, "it did not try to attest"
    at = find_attestation_time(about.said, about.course.host)
    return at is None, "a service attested it" if at else "it tried to attest, in vain"


def guest_undisturbed(about: Account) -> Found:
    """R1, R19: nothing that came changed the guest, if anything came."""
    came = len(list(keys_to(about)))
    return about.letter == Letter.OK, f"{came} messages with keys came, its guest stayed right"


def from_its_cache(about: Account) -> Found:
    """R2, R10: no key came between request and success, and the host asked no key server."""
    came = [one.name for one in keys_to(about)]
    services = about.servers | about.trust
    sent = [one.dst for one in about.said if one.dst in services and one.name != HEALTH]
    sent += [one.server for one in about.asked_by_host if one.server not in sent]
    if about.unread and not (came or sent):
        return False, f"it is not known whether it asked {', '.join(about.unread)}"
    if came or sent:
        return False, f"{', '.join(came) or 'no keys'} came to it, it asked {sent or 'nobody'}"
    return True, "no message carried a key to it, and it asked no key server"


def keys_fetched(about: Account) -> Found:
    """R3, R4: vCenter fetched each key from a key server, then pushed it, then it was done."""
    pushes = list(keys_to(about))
    named = {key for push in pushes for key in _key_ids_in(push)}
    wanted = {str(key.key_id) for key in about.course.keys}
    if missing := sorted(wanted - named):
        return False, f"nobody has pushed {', '.join(missing)}"
    if not named:
        return False, "no key was pushed"
    for push in pushes:
        for key in _key_ids_in(push):
            asked = [one for one in about.asked if one.key == key and one.t <= push.t]
            if not asked:
                return False, f"{key} was pushed, and no key server was asked for it"
            if all(one.usable is False for one in asked):
                return False, f"{key} was pushed, and each key server that was asked refused it"
    return True, f"{len(named)} keys were fetched by vCenter, then pushed"


def by_itself(about: Account) -> Found:
    """R35, R36, R37, R39: safe, with the key loaded, before it had heard of anybody."""
    spoke = min((one.t for one in about.said if one.src == about.course.host), default=None)
    if came := [one.name for one in keys_to(about)]:
        return False, f"{', '.join(came)} came to it"
    loaded = {
        key for one in about.records if one.kind == "keys.loaded" for key in _keys_loaded(one)
    }
    lacking = [str(key) for key in about.course.keys if str(key) not in loaded]
    if lacking:
        return False, f"its boot did not load {', '.join(lacking)}"
    if not about.course.keys and (wrong := _explain_unproved(about.course, spoke)):
        return False, wrong
    safe = next((one.at for one in about.records if _says(one, "crypto_state", "safe")), None)
    if safe is None or (spoke is not None and spoke < safe):
        return False, "it was not safe before it spoke with others"
    if about.course.mounts and (wrong := not_mounted(about.records, spoke)):
        return False, wrong
    return True, f"safe {safe - about.course.began:.0f} s after its power-on, before it spoke"


def groups_mounted_alone(about: Account) -> Found:
    """R60: its disk groups were mounted before it had heard of anybody."""
    if came := [one.name for one in keys_to(about)]:
        return False, f"{', '.join(came)} came to it"
    spoke = min((one.t for one in about.said if one.src == about.course.host), default=None)
    wrong = not_mounted(about.records, spoke)
    return not wrong, wrong or "mounted before it spoke, and no key came to it"


def key_requested_by_host(about: Account) -> Found:
    """R15: the host had a key server give it the key of its disk groups, or its own store, and
    mounted them before it spoke with vCenter."""
    kek = about.course.keys[0]
    sent = [one for one in about.said if one.src == about.course.host]
    others = [one.t for one in sent if one.dst not in about.servers]
    if wrong := not_mounted(about.records, min(others, default=None)):
        return False, wrong
    if came := [one.name for one in keys_to(about) if one.src not in about.servers]:
        return False, f"{', '.join(came)} came to it"
    if any(one.kind == "keys.loaded" and str(kek) in _keys_loaded(one) for one in about.records):
        return True, "its boot loaded the key, and it mounted them before it spoke with vCenter"
    if find_answering_server(about.asked_by_host, str(kek.key_id), usable=True) is None:
        return False, "it asked no key server for the key of its disk groups"
    return True, "it asked a key server itself, and mounted them before it spoke with vCenter"


def _explain_unproved(course: EventCourse, spoke: float | None) -> str:
    """Empty when a host, which VM keys are not about, was seen to be safe and to decrypt its dump
    before it spoke, whatever it had written down."""
    if course.proved is None:
        return "just after its boot it was not safe, or could not decrypt its dump"
    if spoke is not None and course.proved > spoke:
        return "it spoke before it was seen to be safe"
    return ""


def unseal_refused(about: Account) -> Found:
    """R18: the boot has asked the TPM to unseal, and was refused."""
    for one in about.records:
        if one.kind == "boot.stopped" and one.fields.get("screen") == SCREEN_A:
            return True, f"its boot stopped: {one.fields.get('reason')}"
    return False, "no boot of it was stopped"


def log_measured_otherwise(about: Account) -> Found:
    """R21: the log differs, which vCenter has an alarm about; the TPM unsealed all the same."""
    unsealed = any(_says(one, "way", "TPM") for one in about.records)
    if not unsealed:
        return False, "its TPM has not unsealed"
    if about.alarmed or not about.course.known:
        return (
            True,
            f"unsealed; {'vCenter has an alarm' if about.alarmed else 'vCenter knew it not'}",
        )
    return False, "unsealed, and vCenter has no alarm"


def missing_at_source(about: Account) -> Found:
    """R29, R34: the key server was asked, and has answered that it has no such key, or one in a
    state that forbids its use (STD-19)."""
    for key in about.course.keys:
        asked = (*about.asked, *about.asked_by_host) if about.course.mounts else about.asked
        if server := find_answering_server(asked, str(key.key_id), usable=False):
            return True, f"{server} was asked for it, and has none that may be used"
    return False, "no key server was asked for it and had none"


def key_derived(about: Account) -> Found:
    """R55: a host is safe by itself; a VM starts, and no message carries a KEK or KDK to its
    host."""
    return from_its_cache(about) if about.course.keys else by_itself(about)


def kdk_brought(about: Account) -> Found:
    """R56, R59: vCenter has brought the KDK before it was done; where it was not done, it came to
    nobody."""
    came = any(_brings_kdk(one) for one in about.said)
    if about.letter == Letter.OK:
        return came, "vCenter has brought the KDK" if came else "no KDK was brought"
    return not came, "a KDK was brought" if came else "no KDK was brought, and it was not done"


def host_left_out(about: Account) -> Found:
    """R57: no KDK of the provider has come to the host, whatever was asked of it."""
    came = any(_brings_kdk(one) for one in (*about.earlier, *about.said))
    return not came, "a KDK came to it" if came else "no KDK has come to it"


def kdk_gone(about: Account) -> Found:
    """R64: no KDK has come since the deletion, and the host says that it lacks it."""
    if any(_brings_kdk(one) for one in (*about.earlier, *about.said)):
        return False, "a KDK of the deleted provider came"
    if not about.course.known:
        return True, "no KDK of the deleted provider has come to it"
    lacking = [one.kind for one in about.records if _lacks_key(one)]
    return bool(lacking), f"no KDK has come; {lacking[0] if lacking else 'it says of no lack'}"


def kdk_is_another(about: Account) -> Found:
    """R65: the new KDK came, and what was derived with it was noticed to be wrong."""
    if not any(_brings_kdk(one) for one in (*about.earlier, *about.said)):
        return False, "the new KDK has not come to it"
    wrong = [one.kind for one in about.records if one.kind in _DISPROVED]
    if about.course.known and not wrong:
        return False, "the new KDK came, and nothing was noticed to be wrong"
    return True, f"the new KDK came{f'; {wrong[0]}' if wrong else ''}"


_DISPROVED: Final = ("keys.disproved", "host_key.not_derived")


def _brings_kdk(one: Said) -> bool:
    """Whether this is a list of providers with the KDK of P."""
    return one.name == "SetProviders" and P in one.body.get("kdks", ()) and bool(one.boxes)


def _lacks_key(record: NodeRecord) -> bool:
    refused = record.kind == "vm.refused" and bool(record.fields.get("missing"))
    return refused or record.kind in ("host_key.not_derived", "vsan.key_missing")


HEALTH: Final = "QueryTrustedKeyProviderHealth"
"""What vCenter has hosts ask, whatever they need (HLT-06)."""
REFUSED: Final = frozenset({Letter.LOCKED, Letter.NO, Letter.UNSAFE, Letter.PARTLY})

READERS: Final[Mapping[int, Callable[[Account], Found]]] = MappingProxyType(
    {
        1: guest_undisturbed,
        2: from_its_cache,
        10: from_its_cache,
        15: key_requested_by_host,
        3: keys_fetched,
        4: keys_fetched,
        18: unseal_refused,
        19: guest_undisturbed,
        21: log_measured_otherwise,
        29: missing_at_source,
        34: missing_at_source,
        35: by_itself,
        36: by_itself,
        37: by_itself,
        39: by_itself,
        40: key_made_for_it,
        41: keys_unwrapped,
        42: unknown_to_services,
        44: nothing_given,
        45: no_key_yet,
        46: keys_unwrapped,
        47: no_key_given,
        48: nothing_given,
        49: keys_already_there,
        50: not_attested,
        53: nothing_given,
        54: not_attested,
        55: key_derived,
        56: kdk_brought,
        57: host_left_out,
        59: kdk_brought,
        60: groups_mounted_alone,
        64: kdk_gone,
        65: kdk_is_another,
    }
)
"""What a reason's witness is read by."""
ONLY_REFUSED: Final = frozenset({29, 34, 42, 44, 45, 48, 50, 53, 54, 64, 65})
"""Reasons that have a witness only where something was refused for them."""


def witnesses(reasons: Sequence[int], about: Account) -> tuple[Witness, ...]:
    """One for each of these reasons that has a reader."""
    found = []
    for reason in reasons:
        reader = READERS.get(reason)
        if reader is None or (reason in ONLY_REFUSED and about.letter not in REFUSED):
            continue
        held, seen = reader(about)
        found.append(Witness(reason=reason, held=held, seen=seen))
    return tuple(found)


def _key_ids_in(push: Said) -> set[str]:
    """The ids of the keys in a push: of VMs, or the host key."""
    keys = push.body.get("keys") or [push.body.get("key") or {}]
    return {str(key["key_id"]) for key in keys if key}


def _says(record: NodeRecord, field: str, value: str) -> bool:
    return record.kind == "boot.step" and record.fields.get(field) == value


def _keys_loaded(record: NodeRecord) -> list[str]:
    return list(record.fields.get("keys", ()))
