"""Who is not attested asks a Key Provider Service itself: a host that behaves never does.

The harness asks at the service's own console, in nobody's name that a token was issued for: with no
token, and with tokens that hosts have shown on the bus (ATT-03, KPS-02).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from contextlib import suppress
from typing import Final

from chaos.matrix.heard import Heard
from chaos.matrix.scene import StagingScene
from protocol.codec import decode_envelope, decode_message
from protocol.errors import (
    Disconnected,
    Malformed,
    NotConnected,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
    Unauthenticated,
)
from protocol.messages.keyprovider import DecryptWrappedKey, GenerateWrappedKey
from protocol.terms import CryptoKeyId, KeyId

_SILENCE: Final = (NotConnected, NotSent, Refused, TimedOut, Disconnected)


async def verify_strangers_refused(scene: StagingScene, key: CryptoKeyId) -> str:
    """Empty when every service that answers refuses them for their token, whatever else is in its
    way; else which one did not, and for whom. A console passes no key on, so that a service which
    would give one says something else than that."""
    for service in scene.key_services:
        for token, who in ((b"", "has no token"), *collect_tokens(scene.heard)):
            asked = DecryptWrappedKey(
                provider=key.provider_id, token=token, ciphertext=_ciphertext(key.key_id)
            )
            try:
                await scene.lab.ask(service, asked)
            except (Unauthenticated, *_SILENCE):
                continue
            except ProductError as error:
                return f"{service} has taken a request of who {who}: {error}"
            return f"{service} gives a key to who {who}"
    return ""


def collect_tokens(heard: Heard) -> tuple[tuple[bytes, str], ...]:
    """The token that each host was last heard to show, with what is wrong with who shows it
    again."""
    found: dict[str, bytes] = {}
    for payload in heard.payloads():
        with suppress(Malformed):
            envelope = decode_envelope(payload)
            if envelope.name not in (GenerateWrappedKey.__name__, DecryptWrappedKey.__name__):
                continue
            message = decode_message(envelope.name, envelope.body)
            if isinstance(message, GenerateWrappedKey | DecryptWrappedKey) and message.token:
                found[envelope.sender] = message.token
    return tuple((token, f"shows the token of {host}") for host, token in found.items())


def _ciphertext(key_id: KeyId) -> bytes:
    text = key_id.encode()
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))
