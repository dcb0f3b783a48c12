"""What a host and a Trust Authority said to each other: did it attest, what did it get? Pure.

Requests and replies are found by who sent them; that a key came is seen by its sealed box, and
which one was asked for by the fingerprint of its ciphertext, which a key id of a trusted provider
is.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from typing import Final

from chaos.conversation import Said, fingerprint
from protocol.terms import CryptoKeyId, NodeName

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
