"""Situations drawn at random, of which only those are kept that can be."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from chaos.oracle.facts import (
    AttestationVerdict,
    Change,
    Kdk,
    KeyInMemory,
    KeyProviderKind,
    Life,
    Question,
    Situation,
)

_FIELDS = msgspec.structs.fields(Situation)


def situations(seed: int, count: int) -> Iterator[Situation]:
    """``count`` of them; most facts are as in a healthy lab."""
    random = Random(seed)
    while count:
        values = {field.name: _drawn(random, field) for field in _FIELDS}
        found = Situation(**values)
        if can_be(found):
            count -= 1
            yield found


def _drawn(random: Random, field: msgspec.structs.FieldInfo) -> Any:
    if field.type is bool:
        return field.default if random.random() < 0.8 else not field.default
    if field.name in ("ask", "kind", "held") or random.random() < 0.25:
        return random.choice(list(field.type))
    return field.default


def can_be(s: Situation) -> bool:
    """Whether these facts can be true together."""
    return all((_of_the_question(s), _of_the_host(s), _of_the_key(s), _of_the_kind(s)))


def _of_the_question(s: Situation) -> bool:
    if s.ask is Question.JOIN and (s.held is not KeyInMemory.NO or not s.vcenter_reaches_host):
        return False
    if s.ask is Question.RUN and s.life is not Life.UP:
        return False
    if s.ask in (Question.BOOT, Question.MOUNT) and not s.booted:
        return False
    if s.ask is Question.BOOT and s.life is Life.DOWN:
        return False
    if (
        s.ask not in (Question.RUN, Question.START, Question.RESTART, Question.MOVE)
        and not s.encrypted
    ):
        return False
    if s.to_another and s.ask is not Question.RECRYPT:
        return False
    return not s.on_host or (s.ask is Question.CREATE and s.kind is KeyProviderKind.NATIVE)


def _of_the_host(s: Situation) -> bool:
    breaks = s.sealed and s.booted and s.change in (Change.POLICY, Change.TPM)
    if s.life is Life.SCREEN:
        return breaks and s.held is KeyInMemory.NO
    if s.change is Change.TPM and not s.sealed:
        return False
    return not (breaks and s.life is Life.UP) and not (s.life is Life.DOWN and s.has_key)


def _of_the_key(s: Situation) -> bool:
    if s.evicted and (s.listed or s.has_key):
        return False
    if s.held is KeyInMemory.PUSHED and s.kind is not KeyProviderKind.STANDARD:
        return False
    if s.ask is Question.MOUNT and s.held not in (KeyInMemory.NO, KeyInMemory.LOADED):
        return False
    if s.held is KeyInMemory.LOADED and (not s.sealed or s.kind is KeyProviderKind.NATIVE):
        return False  # of a native provider nothing need be stored
    if s.held is KeyInMemory.LOADED and not s.booted:
        return False
    if s.renewable and s.kind is KeyProviderKind.TRUSTED:
        return False
    if s.default and not s.listed and s.ask in (Question.CREATE, Question.RECRYPT, Question.BOOT):
        return False
    return not s.other_key_gone or s.kind is KeyProviderKind.STANDARD


def _of_the_kind(s: Situation) -> bool:
    if s.kind is KeyProviderKind.TRUSTED:
        if not s.sealed or (
            s.ask is Question.JOIN and s.attestation is AttestationVerdict.ATTESTED
        ):
            return False
        attested = s.attestation is AttestationVerdict.ATTESTED
        if attested and not (s.image_known and s.enrolled):
            return False
        return s.attestation is not AttestationVerdict.REFUSED or not s.image_known
    if s.kind is not KeyProviderKind.NATIVE:
        return True
    if not s.key_usable or (s.listed == (s.vcenter_kdk is Kdk.ABSENT)):
        return False
    if s.ask is Question.JOIN and s.kdk is not Kdk.ABSENT:
        return False
    if s.kdk is Kdk.OTHER and s.vcenter_kdk is Kdk.RIGHT:
        return False
    if s.excluded and (s.sealed or s.kdk is not Kdk.ABSENT or s.has_key):
        return False
    # The host key is derived anew at each boot, by the KDK that is there then.
    if s.ask is Question.BOOT and s.has_key:
        return False
    # A deletion takes the KDK, at once where vCenter reaches the host; keys are evicted later.
    # A provider that is in no list leaves no host out.
    return s.listed or not (s.excluded or (s.evicted and s.kdk is not Kdk.ABSENT))
