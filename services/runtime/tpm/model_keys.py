"""Keys that follow from a seed, as a TPM's primary keys do: same seed, same key.

Curve keys are cheap. An RSA key needs a prime search (some tenths of a second here): it is
made on demand only.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from protocol.tpm.public import RSA_EXPONENT

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PRIME_BITS: Final = 1024
_SMALL: Final = tuple(
    number for number in range(3, 2000, 2) if all(number % d for d in range(3, 45, 2) if d < number)
)
_WITNESSES: Final = (2, *_SMALL[:19])


def secret_of(seed: bytes, label: bytes, context: bytes = b"") -> bytes:
    """32 bytes that only the holder of ``seed`` can make; ``context`` has a fixed size."""
    return hmac.digest(seed, label + b"\0" + context, "sha256")


class KeyShelf:
    """The keys of one TPM, each made when it is first asked for."""

    def __init__(self) -> None:
        self._curve: dict[tuple[bytes, bytes], ec.EllipticCurvePrivateKey] = {}
        self._rsa: dict[tuple[bytes, bytes], rsa.RSAPrivateKey] = {}

    def curve(self, seed: bytes, label: bytes) -> ec.EllipticCurvePrivateKey:
        """The P-256 key of this seed and label."""
        if (seed, label) not in self._curve:
            wide = int.from_bytes(hmac.digest(seed, b"p256\0" + label, "sha512"), "big")
            secret = wide % (_P256_ORDER - 1) + 1
            self._curve[seed, label] = ec.derive_private_key(secret, ec.SECP256R1())
        return self._curve[seed, label]

    def rsa(self, seed: bytes, label: bytes) -> rsa.RSAPrivateKey:
        """The RSA 2048 key of this seed and label."""
        if (seed, label) not in self._rsa:
            self._rsa[seed, label] = _rsa_key(seed, label)
        return self._rsa[seed, label]


def _rsa_key(seed: bytes, label: bytes) -> rsa.RSAPrivateKey:
    primes = _primes(seed, label)
    p, q = next(primes), next(primes)
    d = pow(RSA_EXPONENT, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(RSA_EXPONENT, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key()


def _primes(seed: bytes, label: bytes) -> Iterator[int]:
    """Different primes of 1,024 bits, the upper two bits set."""
    for number in range(1 << 16):
        blocks = (
            hmac.digest(
                seed, b"rsa\0" + label + bytes((number >> 8, number & 255, block)), "sha512"
            )
            for block in range(_PRIME_BITS // 512)
        )
        start = int.from_bytes(b"".join(blocks), "big") | 3 << _PRIME_BITS - 2 | 1
        for candidate in range(start, start + 4096, 2):
            if candidate % RSA_EXPONENT != 1 and _is_prime(candidate):
                yield candidate
                break


def _is_prime(number: int) -> bool:
    """Miller-Rabin with 20 witnesses; candidates are random, not chosen by an adversary."""
    if any(number % small == 0 for small in _SMALL):
        return False
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    for witness in _WITNESSES:
        power = pow(witness, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
