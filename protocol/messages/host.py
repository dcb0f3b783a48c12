"""What an ESXi host serves: crypto manager, virtual machines, esxcli, and the guest's answers.

vCenter sends the commands inside a session that either side's boot ends; they are numbered,
and an old session or number is refused with ``NotConnected``. The local administrator (through
the lab's control plane) uses the same messages without a session.
"""

from __future__ import annotations

from typing import ClassVar, Final, Generic, TypeVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyKind,
    ManagementType,
    NodeName,
    PowerState,
    ProtectionMode,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)

R = TypeVar("R", covariant=True)


class Command(Request[R], Generic[R], frozen=True, kw_only=True):
    """A numbered command of a session; ``session`` empty and 0 from the local administrator."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    session: str = ""
    number: int = 0


class ProviderRef(msgspec.Struct, frozen=True, kw_only=True):
    """What a host knows of a key provider: its name and who manages it."""

    provider_id: ProviderId
    management_type: ManagementType


class VmSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A registered VM as its host sees it. ``missing`` keys are why it is locked."""

    vm: VmName
    power: PowerState
    crypto: VmCryptoState | None = None
    connection: VmConnectionState = VmConnectionState.CONNECTED
    keys: tuple[CryptoKeyId, ...] = ()
    missing: tuple[CryptoKeyId, ...] = ()
    wanted: PowerState = PowerState.OFF  # last accepted power command


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A host's own view of itself.

    ``vms`` are by name; ``more_vms``: those after the last one did not fit into the message, and
    ``QueryHost(after=...)`` has them.
    """

    host: NodeName
    boot: int
    version: str
    crypto_state: HostCryptoState
    crypto_key_id: CryptoKeyId | None = None  # configured host key, present or not
    tpm_present: bool = False
    protection_mode: ProtectionMode = ProtectionMode.NONE
    key_persistence: bool = False
    cached_keys: int = 0
    stored_keys: int = 0
    providers: tuple[ProviderRef, ...] = ()
    vms: tuple[VmSummary, ...] = ()
    more_vms: bool = False
    session: str = ""  # in force, empty when vCenter has none
    recovery_id: str = ""


class OpenSession(Request["SessionOpened"], frozen=True, kw_only=True):
    """vCenter takes command: every earlier session of this host is over when it is answered."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    session: str
    vcenter_boot: int


class SessionOpened(Reply, frozen=True, kw_only=True):
    """The session is in force; with the host's view, or the first page of it."""

    summary: HostSummary


class QueryHost(Request["HostState"], frozen=True, kw_only=True):
    """The host's view of itself, with its VMs after ``after``; also vCenter's heartbeat."""

    after: VmName = VmName("")


class HostState(Reply, frozen=True, kw_only=True):
    """The host's view as it is now, with as many VMs as fit into the answer."""

    summary: HostSummary


class Done(Reply, frozen=True, kw_only=True):
    """It is so, durably where the message says so."""


class CryptoManagerHostPrepare(Command[Done], frozen=True, kw_only=True):
    """incapable -> prepared; no change when prepared or safe."""


class CryptoManagerHostEnable(Command[Done], frozen=True, kw_only=True):
    """prepared -> safe with this host key. ``AlreadyExists`` when safe with another one."""

    key: CryptoKeyId
    material: Sealed


class ChangeHostKey(Command[Done], frozen=True, kw_only=True):
    """ChangeKey_Task: safe -> safe with a new host key; ``InvalidState`` when not safe."""

    key: CryptoKeyId
    material: Sealed


class CryptoManagerHostDisable(Command[Done], frozen=True, kw_only=True):
    """safe -> pendingIncapable until the reboot; refused while encrypted VMs are there."""


class AddKeys(Command["KeysAdded"], frozen=True, kw_only=True):
    """Put keys into the cache (and the store when persistence is on: saved before the reply).

    ``keys`` and ``material`` correspond by position; as many as the answer has room for
    (``RESULT_BYTES`` each beyond their ids), else ``ResponseTooLarge`` and no change.
    ``kind`` is what all of them are for; a key that the host has already keeps its own.
    """

    keys: tuple[CryptoKeyId, ...]
    material: Sealed
    kind: KeyKind = KeyKind.VM


RESULT_BYTES: Final = 128
"""What one key weighs in an answer beyond its id: flags, a reason, a fault; or a sealed value."""


class CryptoKeyResult(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 CryptoKeyResult: ``fault`` is ``AlreadyExists`` for a key it had (no change)."""

    key: CryptoKeyId
    success: bool
    reason: str = ""
    fault: str = ""


class KeysAdded(Reply, frozen=True, kw_only=True):
    """One result per key, in the order of ``AddKeys.keys``."""

    results: tuple[CryptoKeyResult, ...]


class RemoveKeys(Command["KeysRemoved"], frozen=True, kw_only=True):
    """Drop keys from the cache and, by ``store_follows_cache``, from the store.

    As many as the answer has room for (``RESULT_BYTES`` each beyond their ids), else
    ``ResponseTooLarge`` and no change.
    """

    keys: tuple[CryptoKeyId, ...]


class KeysRemoved(Reply, frozen=True, kw_only=True):
    """One result per key, in the order of ``RemoveKeys.keys``.

    A key that was not cached is a success with a ``reason``.
    """

    results: tuple[CryptoKeyResult, ...]


class GetCryptoKeyStatus(Request["KeyStatusList"], frozen=True, kw_only=True):
    """Whether keys are in the key cache; all cached keys, by id, when none are named.

    ``after``: of all cached keys, those after this id. Named keys are as many as the answer has
    room for (``STATUS_BYTES`` each beyond their ids), else ``ResponseTooLarge``.
    """

    keys: tuple[CryptoKeyId, ...] = ()
    after: CryptoKeyId | None = None


STATUS_BYTES: Final = 32
"""What one key weighs in ``KeyStatusList`` beyond its id."""


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 KeyStatus; ``present`` means *in the host key cache*."""

    key: CryptoKeyId
    present: bool
    stored: bool = False  # in the persisted store (the lab's addition)


class KeyStatusList(Reply, frozen=True, kw_only=True):
    """Named keys in the order asked; ``more`` of all cached keys are after the last one."""

    keys: tuple[KeyStatus, ...]
    more: bool = False


class SetProviders(Command[Done], frozen=True, kw_only=True):
    """The whole list of key providers of this host; saved before the reply."""

    providers: tuple[ProviderRef, ...]


class HostCreateVm(Command["VmState"], frozen=True, kw_only=True):
    """Make and register an unencrypted VM of ``blocks`` blocks of 4,096 bytes.

    No change when this host has registered one of that name already.
    """

    vm: VmName
    blocks: int = 64


class HostRegisterVm(Command["VmState"], frozen=True, kw_only=True):
    """Register the VM whose files lie on the datastore; saved before the reply."""

    vm: VmName


class HostUnregisterVm(Command[Done], frozen=True, kw_only=True):
    """Take it out of this host's inventory; its files stay. Refused while it runs."""

    vm: VmName


class HostDestroyVm(Command[Done], frozen=True, kw_only=True):
    """Unregister and delete the files. Refused while it runs."""

    vm: VmName


class ReconfigureVm(Command["VmState"], frozen=True, kw_only=True):
    """CryptoSpecEncrypt: new DEKs under this KEK, data rewritten, VM powered off.

    ``key`` None: the host makes the key itself, with ``provider``, whose keys are born on hosts
    (KEY-02); its answer names the key, and a repeat is no change. ``NotAvailable`` from a host that
    has no such provider.

    ``EncryptionKeyRequired`` if the key is not cached, ``InvalidState`` if encrypted already
    with another key or the host is not safe; no change if encrypted with this key.
    """

    vm: VmName
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class HostPowerOnVm(Command["VmState"], frozen=True, kw_only=True):
    """Power on; ``EncryptionKeyRequired`` names the keys no means of this host can find."""

    vm: VmName


class HostPowerOffVm(Command["VmState"], frozen=True, kw_only=True):
    """Power off at once, without the guest; that this is wanted is remembered in any case."""

    vm: VmName


class VmState(Reply, frozen=True, kw_only=True):
    """The VM after the command."""

    summary: VmSummary


class GuestWrite(Request["GuestAnswer"], frozen=True, kw_only=True):
    """The guest fills its disk with blocks made from ``marker`` (running VM only)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    marker: bytes


class GuestChallenge(Request["GuestAnswer"], frozen=True, kw_only=True):
    """Read these blocks from the datastore now and digest them with the nonce.

    Then one block is rewritten with its next generation and read back.
    """

    vm: VmName
    nonce: bytes
    blocks: tuple[int, ...]


class GuestAnswer(Reply, frozen=True, kw_only=True):
    """``digest`` = SHA-256 of nonce and each block's content, in the order asked.

    ``rewritten`` is the block whose generation went from ``generation - 1`` to ``generation``.
    """

    digest: bytes
    rewritten: int = -1
    generation: int = 0


class Esxcli(Request["EsxcliResult"], frozen=True, kw_only=True):
    """A command at the local console, without the word ``esxcli``: its arguments."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    arguments: tuple[str, ...]


class EsxcliResult(Reply, frozen=True, kw_only=True):
    """What the console shows: ``exit_code`` 0 for success, and the whole text of ``output``."""

    exit_code: int
    output: str


class SaveConfiguration(Request[Done], frozen=True, kw_only=True):
    """The auto-backup script: save the configuration archive now."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
