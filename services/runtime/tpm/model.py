"""The fast backend: a TPM in pure Python, for the speed of the simulation only.

It returns the codes of the real backend (the contract test runs the same body on both), and its
cryptography is real. A sealed blob is encrypted twice. The outer key is derived from the owner's
seed (another or a cleared TPM: integrity fails), the inner key from that seed and the policy (other
PCR values: there is no key). Keys, credentials and quotes are those of a TPM 2.0. Command timing,
dictionary attack recovery over time and other algorithms are missing. Every claim about sealing is
also tested on libtpms.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.messages.agent import TpmBackend
from protocol.tpm.credential import (
    CredentialForeign,
    decode_point,
    ecc_seed_of,
    oaep,
    open_credential,
)
from protocol.tpm.errors import (
    RC_ATTRIBUTES_H1,
    RC_FAILURE,
    RC_HANDLE_1,
    RC_INITIALIZE,
    RC_INTEGRITY_1,
    RC_LOCALITY,
    RC_NV_RANGE,
    RC_NV_SPACE,
    RC_POLICY_FAIL_S1,
    tpm_error,
)
from protocol.tpm.event_log import DRTM_PCRS, encode_log, event_digest, extend_pcr, initial_pcr
from protocol.tpm.public import (
    RSA_EXPONENT,
    ak_public,
    ek_public,
    ek_rsa_public,
    keyedhash_public,
    point_of,
    public_name,
    qualified_name,
    srk_public,
)
from protocol.tpm.quote import (
    QuoteBody,
    ecdsa_signature,
    encode_attest,
    pcr_digest,
    policy_pcr_digest,
)
from protocol.tpm.structures import (
    PCR_COUNT,
    EkKind,
    EventType,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
    SealedBlob,
    TpmInfo,
    TpmName,
    TpmReader,
    pcr_select,
    tpm2b,
)
from services.runtime.tpm.base import (
    SECRET_LIMIT,
    BaseDevice,
    check_blob,
    check_credential,
    check_index,
    check_nonce,
    check_seal,
)
from services.runtime.tpm.device import NvStore

RC_ATTRIBUTES: Final = 0x82
RC_ATTRIBUTES_H2: Final = 0x282
RC_ECC_POINT_2: Final = 0x2E7
_FIRMWARE: Final = 0x4B53_0001
_SEED: Final = 32
_NONCE: Final = 12
_CLOCK_STEP: Final = 4096
"""ms after which the clock is written to NV and is safe again, as in libtpms."""


class ModelDevice(BaseDevice):
    """A ``TpmDevice`` without a TPM. ``entropy`` provides seeds and nonces."""

    kind: ClassVar[TpmBackend] = TpmBackend.MODEL

    def __init__(self, nv: NvStore, entropy: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(nv)
        self._entropy = entropy
        self._keys = DerivedKeys()
        self._failed = False
        self._state: ModelState | None = None
        self._pcrs: dict[int, bytes] = {}
        self._manufacture()

    # Power -------------------------------------------------------------------------------------

    def power_on(self) -> None:
        with self._lock:
            if self._powered:
                raise tpm_error(RC_FAILURE if self._failed else RC_INITIALIZE)
            self._powered = True
            image = self._load_state()
            if image:
                self._state = decode_state(image)
            else:
                self._state = ModelState(self._entropy(_SEED), self._entropy(_SEED))
            if self._state is None:
                self._failed = True
                raise self._build_start_error()
            self._pcrs = {pcr: initial_pcr(pcr) for pcr in range(PCR_COUNT)}
            self._commit(self._state.after_startup())

    def _shutdown(self) -> None:
        with self._at_work() as state:
            self._commit(msgspec.structs.replace(state, orderly=True))

    def _lose_power(self) -> None:
        self._state = None
        self._failed = False
        self._pcrs = {}

    def _freeze(self) -> bytes:
        with self._at_work() as state:
            return encode_memory(state, self._pcrs)

    def _thaw(self, memory: bytes) -> None:
        found = decode_memory(memory)
        if found is None:
            raise self._build_start_error()
        self._powered, self._state, self._pcrs = True, *found

    @contextmanager
    def _at_work(self) -> Iterator[ModelState]:
        """Hold the state for one command; refuses without power and in failure mode."""
        with self._lock:
            self._check_power()
            if self._failed or self._state is None:
                raise tpm_error(RC_FAILURE)
            clock = self._state.clock + 1
            self._state = msgspec.structs.replace(
                self._state, clock=clock, safe=self._state.safe or clock % _CLOCK_STEP == 0
            )
            yield self._state

    def _commit(self, state: ModelState) -> None:
        """Store ``state`` in NV; if that fails, the TPM enters failure mode."""
        try:
            self._store_state(encode_state(state))
        except OSError as error:
            self._failed = True
            failure = tpm_error(RC_FAILURE)
            failure.add_note(f"NV could not be written: {error}")
            raise failure from None
        self._state = state

    # PCRs --------------------------------------------------------------------------------------

    def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        with self._at_work():
            for event in events:
                if event.type is not EventType.NO_ACTION:
                    if event.pcr in DRTM_PCRS:
                        raise tpm_error(RC_LOCALITY)
                    self._pcrs[event.pcr] = extend_pcr(self._pcrs[event.pcr], event_digest(event))
            return encode_log(events)

    def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        with self._at_work():
            return {pcr: self._pcrs[pcr] for pcr in selection.pcrs}

    # Sealing -----------------------------------------------------------------------------------

    def ensure_srk(self) -> TpmName:
        with self._at_work() as state:
            if not state.srk:
                self._commit(msgspec.structs.replace(state, srk=True))
            return self._srk(state)

    def srk_name(self) -> TpmName | None:
        with self._at_work() as state:
            return self._srk(state) if state.srk else None

    def _srk(self, state: ModelState) -> TpmName:
        if state.occupied:
            left = self._keys.curve(state.owner_seed, b"left").public_key()
            return public_name(ak_public(point_of(left)))
        key = self._keys.curve(state.owner_seed, b"srk").public_key()
        return public_name(srk_public(point_of(key)))

    def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        check_seal(secret, policy)
        with self._at_work() as state:
            self._check_srk(state)
            nonce = self._entropy(_NONCE)
            unique = derive_secret(state.owner_seed, b"unique", nonce + secret)
            public = keyedhash_public(policy, unique).raw
            inner = _inner_key(state, policy, nonce).encrypt(
                bytes(_NONCE), _pad_secret(secret), None
            )
            return SealedBlob(nonce + _outer_key(state).encrypt(nonce, inner, public), public)

    def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        check_blob(blob)
        with self._at_work() as state:
            self._check_srk(state)
            nonce, box = blob.private[:_NONCE], blob.private[_NONCE:]
            try:
                inner = _outer_key(state).decrypt(nonce, box, blob.public)
            except InvalidTag:
                raise tpm_error(RC_INTEGRITY_1) from None
            policy = policy_pcr_digest(selection, self._pcrs)
            try:
                clear = _inner_key(state, policy, nonce).decrypt(bytes(_NONCE), inner, None)
            except InvalidTag:
                raise tpm_error(RC_POLICY_FAIL_S1) from None
            return TpmReader(clear).tpm2b()

    @staticmethod
    def _check_srk(state: ModelState) -> None:
        if not state.srk:
            raise tpm_error(RC_HANDLE_1)
        if state.occupied:
            raise tpm_error(RC_ATTRIBUTES_H1)

    # Attestation -------------------------------------------------------------------------------

    def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        with self._at_work() as state:
            if kind is EkKind.ECC_P256:
                return ek_public(point_of(self._ek(state).public_key())), None
            modulus = self._keys.rsa(state.endorsement_seed, b"ek").public_key().public_numbers().n
            return ek_rsa_public(modulus.to_bytes(256, "big")), None

    def ak(self) -> tuple[PublicArea, TpmName]:
        with self._at_work() as state:
            area = ak_public(point_of(self._ak(state).public_key()))
            return area, public_name(area)

    def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        kind = check_credential(id_object, encrypted_seed)
        with self._at_work() as state:
            if kind is EkKind.ECC_P256:
                seed = self._ecc_seed(state, encrypted_seed)
            else:
                seed = self._rsa_seed(state, encrypted_seed)
            _, name = self.ak()
            try:
                return open_credential(seed, id_object, name)
            except CredentialForeign:
                raise tpm_error(RC_INTEGRITY_1) from None

    def _ek(self, state: ModelState) -> ec.EllipticCurvePrivateKey:
        return self._keys.curve(state.endorsement_seed, b"ek")

    def _ak(self, state: ModelState) -> ec.EllipticCurvePrivateKey:
        return self._keys.curve(state.endorsement_seed, b"ak")

    def _ecc_seed(self, state: ModelState, encrypted_seed: bytes) -> bytes:
        point = decode_point(encrypted_seed)
        x, y = (int.from_bytes(part, "big") for part in (point.x, point.y))
        try:
            other = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        except ValueError:
            raise tpm_error(RC_ECC_POINT_2) from None
        key = self._ek(state)
        return ecc_seed_of(key.exchange(ec.ECDH(), other), point, point_of(key.public_key()))

    def _rsa_seed(self, state: ModelState, encrypted_seed: bytes) -> bytes:
        try:
            return self._keys.rsa(state.endorsement_seed, b"ek").decrypt(encrypted_seed, oaep())
        except ValueError:
            raise tpm_error(RC_INTEGRITY_1) from None

    def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        check_nonce(nonce)
        with self._at_work() as state:
            _, name = self.ak()
            attest = encode_attest(
                QuoteBody(
                    signer=qualified_name(name),
                    nonce=nonce,
                    clock=state.clock,
                    reset_count=state.resets,
                    restart_count=0,
                    safe=state.safe,
                    firmware=_FIRMWARE,
                    selection=pcr_select(selection.pcrs),
                    digest=pcr_digest(selection, self._pcrs),
                )
            )
            der = self._ak(state).sign(attest, ec.ECDSA(hashes.SHA256()))
            values = tuple(self._pcrs[pcr] for pcr in selection.pcrs)
            return Quote(attest, ecdsa_signature(*decode_dss_signature(der)), selection, values)

    # NV ----------------------------------------------------------------------------------------

    def counter(self, index: int, bump: bool = False) -> int:
        check_index(index)
        with self._at_work() as state:
            entry = state.find(index)
            if bump:
                if entry is not None and not entry.counter:
                    raise tpm_error(RC_ATTRIBUTES_H2)
                value = state.top + 1 if entry is None else counter_value(entry) + 1
                entry = NvIndex(index, value.to_bytes(8, "big"), counter=True)
                self._store_index(state, entry)
            if entry is None:
                raise tpm_error(RC_HANDLE_1)
            if len(entry.data) < 8:
                raise tpm_error(RC_NV_RANGE)
            return int.from_bytes(entry.data[:8], "big")

    def nv_read(self, index: int) -> bytes:
        check_index(index)
        with self._at_work() as state:
            entry = state.find(index)
            if entry is None:
                raise tpm_error(RC_HANDLE_1)
            return entry.data

    def nv_write(self, index: int, data: bytes) -> None:
        check_index(index, len(data))
        with self._at_work() as state:
            entry = state.find(index)
            if entry is not None and entry.counter:
                raise tpm_error(RC_ATTRIBUTES)
            self._store_index(state, NvIndex(index, data))

    def _store_index(self, state: ModelState, entry: NvIndex) -> None:
        if not state.has_room_for(entry):
            raise tpm_error(RC_NV_SPACE)
        self._commit(state.with_index(entry))

    # State and commands of the lab -------------------------------------------------------------

    def info(self) -> TpmInfo:
        with self._lock:
            self._check_power()
            if self._failed or self._state is None:
                return TpmInfo(backend=self.kind.value, failed=True)
            return self._state.build_info(self.kind.value)

    def _first_setup(self) -> bytes:
        # As with the real one: a change of the PCR banks takes effect at the next power-on.
        self.power_off(orderly=True)
        self.power_on()
        area, _ = self.ek(EkKind.ECC_P256)
        return hashlib.sha256(area.raw).digest()

    def _clear(self) -> None:
        with self._at_work() as state:
            self._commit(state.after_clear(self._entropy(_SEED)))

    def _occupy(self) -> None:
        with self._at_work() as state:
            self._commit(msgspec.structs.replace(state, srk=True, occupied=True))

    def _lockout(self) -> None:
        with self._at_work() as state:
            self._commit(msgspec.structs.replace(state, tries=MAX_TRIES))

    def _write_something(self) -> None:
        with self._at_work() as state:
            self._commit(state)


def _pad_secret(secret: bytes) -> bytes:
    """Pad a secret: all blobs have one length, which reveals nothing."""
    return tpm2b(secret) + bytes(SECRET_LIMIT - len(secret))


def _outer_key(state: ModelState) -> AESGCM:
    return AESGCM(derive_secret(state.owner_seed, b"storage"))


def _inner_key(state: ModelState, policy: bytes, nonce: bytes) -> AESGCM:
    """A key for one blob only, so its nonce may be constant."""
    return AESGCM(derive_secret(state.owner_seed, b"policy", policy + nonce))


# ---- keys from a seed ----------------------------------------------------------------------------
# Like a TPM's primary keys: the same seed gives the same key. Curve keys are cheap. An RSA key
# needs a prime search (some tenths of a second), and is made on demand only.

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PRIME_BITS: Final = 1024
_SMALL: Final = tuple(
    number for number in range(3, 2000, 2) if all(number % d for d in range(3, 45, 2) if d < number)
)
_WITNESSES: Final = (2, *_SMALL[:19])


def derive_secret(seed: bytes, label: bytes, context: bytes = b"") -> bytes:
    """32 bytes that only the holder of ``seed`` can derive; ``context`` has a fixed size."""
    return hmac.digest(seed, label + b"\0" + context, "sha256")


class DerivedKeys:
    """The keys of one TPM, each derived at its first use."""

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


# ---- state in NV ---------------------------------------------------------------------------------
# What the model keeps in NV, as values; a change returns a new state.

CAPACITY: Final = 68 * 2048
"""How many bytes all NV indices hold together, about as many as in libtpms."""
MAX_TRIES: Final = 3


class NvIndex(msgspec.Struct, frozen=True):
    """One index; ``counter`` marks a counter (8 bytes, big-endian)."""

    index: int
    data: bytes
    counter: bool = False


class ModelState(msgspec.Struct, frozen=True):
    """Permanent state. ``clock`` is in ms and counts commands. ``orderly``: the last power-off came
    after TPM2_Shutdown. ``top`` is the highest value of a counter that was removed: a new counter
    begins above it, so that no number repeats. ``occupied``: another key is in the place of the
    storage root key."""

    endorsement_seed: bytes
    owner_seed: bytes
    srk: bool = False
    occupied: bool = False
    resets: int = 0
    clock: int = 0
    orderly: bool = True
    safe: bool = True
    tries: int = 0
    top: int = 0
    indices: tuple[NvIndex, ...] = ()

    def build_info(self, backend: str) -> TpmInfo:
        """The ``TpmInfo`` of a TPM that works."""
        return TpmInfo(
            backend=backend,
            failed=False,
            reset_count=self.resets,
            restart_count=0,
            clock=self.clock,
            safe=self.safe,
            lockout_counter=self.tries,
            max_tries=MAX_TRIES,
            lockout=self.tries >= MAX_TRIES,
        )

    def find(self, index: int) -> NvIndex | None:
        """The NV index; None when it is not defined."""
        return next((entry for entry in self.indices if entry.index == index), None)

    def with_index(self, entry: NvIndex) -> ModelState:
        """The state with ``entry``, in place of the one with its number."""
        others = (other for other in self.indices if other.index != entry.index)
        return msgspec.structs.replace(self, indices=(*others, entry))

    def has_room_for(self, entry: NvIndex) -> bool:
        """Whether NV has room for this index, in place of one of the same number."""
        used = sum(len(other.data) for other in self.indices if other.index != entry.index)
        return used + len(entry.data) <= CAPACITY

    def after_startup(self) -> ModelState:
        """After Startup(CLEAR)."""
        return msgspec.structs.replace(
            self, resets=self.resets + 1, safe=self.safe and self.orderly, orderly=False
        )

    def after_clear(self, owner_seed: bytes) -> ModelState:
        """After TPM2_Clear: endorsement keys stay, everything of the owner is gone."""
        top = max((self.top, *map(counter_value, self.indices)))
        return ModelState(self.endorsement_seed, owner_seed, orderly=self.orderly, top=top)


def counter_value(entry: NvIndex) -> int:
    """Value of a counter; 0 for another index."""
    return int.from_bytes(entry.data, "big") if entry.counter else 0


def encode_state(state: ModelState) -> bytes:
    """The state as bytes for the NV image; ``decode_state`` reads them."""
    return msgspec.msgpack.encode(state)


def decode_state(image: bytes) -> ModelState | None:
    """The state; None when the image is damaged."""
    try:
        return msgspec.msgpack.decode(image, type=ModelState)
    except msgspec.DecodeError:
        return None


def encode_memory(state: ModelState, pcrs: dict[int, bytes]) -> bytes:
    """The memory of a TPM as bytes; ``decode_memory`` reads them."""
    return msgspec.msgpack.encode((state, pcrs))


def decode_memory(data: bytes) -> tuple[ModelState, dict[int, bytes]] | None:
    """The memory of a TPM with power: its state, whose clock is ahead of NV's, and its PCRs by
    number; None when it is damaged."""
    try:
        return msgspec.msgpack.decode(data, type=tuple[ModelState, dict[int, bytes]])
    except msgspec.DecodeError:
        return None
