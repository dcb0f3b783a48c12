"""Witnesses of what a Trust Authority gives and refuses: readers of single reasons.

Taken from what the host and the services said to each other (``unwrapped``).
"""

from __future__ import annotations

from chaos.matrix.account import Account, Found, keys_to
from chaos.matrix.unwrapped import (
    MAKE,
    UNWRAP,
    asked_for_nothing,
    ciphertext_of,
    find_attestation_time,
    got,
    refused,
)
from chaos.oracle.terms import Letter


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
