"""Native and trusted providers of a staging.

Native: KDKs kept, keys used and not used. Trusted: what an administrator does at a Trust Authority
and at its hosts, what is shown of them, and that a host which is not attested gets no key from a
Key Provider Service.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from contextlib import suppress
from typing import Any, Final

from chaos.administration import take_backup
from chaos.matrix import clock
from chaos.matrix.scene import TA_VCENTER, Heard, P, Q, StagingScene, Void, cluster_of
from chaos.observe.look import all_vms
from chaos.oracle.terms import TableEvent, TableFault
from protocol.codec import decode_envelope, decode_message
from protocol.crypto.provider_backup import read_backup
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
from protocol.messages.base import Request
from protocol.messages.fingerprints import FingerprintKeys
from protocol.messages.host.crypto import (
    AttestHost,
    ExportBaseImage,
    ExportTpmEndorsement,
    GetCryptoKeyStatus,
    QueryTrustedConfiguration,
    RemoveKeys,
    RemoveProvider,
    TrustedConfigurationState,
)
from protocol.messages.host.session import QueryHost
from protocol.messages.keyprovider import DecryptWrappedKey, GenerateWrappedKey
from protocol.messages.vcenter.trust import (
    ImportToTrustAuthority,
    QueryTrustedClusters,
    RemediateTrustedCluster,
    RemoveFromTrustAuthority,
    TrustedHost,
)
from protocol.messages.vcenter.vms import MigrateVm, PowerOffVm, PowerOnVm, RegisterVm, UnregisterVm
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    NodeName,
    ProviderId,
    VmName,
)
from protocol.trust import (
    HostTrustReport,
    TrustAttestationStatus,
    TrustedEndorsementKey,
    TrustItem,
)

USE_TRIES = 4
PRESENT, ABSENT, OTHER = "present", "absent", "the new one"
"""What a host has of the KDK of before the fault."""


async def keep_kdks(scene: StagingScene) -> None:
    """The backups of P and Q: what derives every key that the judged VMs were made with."""
    for provider in (P, Q):
        file = await take_backup(scene.lab, scene.vcenter, provider)
        scene.kdks[provider] = read_backup(file.reveal(), "")


async def use_key_on(
    scene: StagingScene, event: TableEvent, vm: VmName, host: NodeName, home: NodeName
) -> None:
    """``host`` uses the key of a VM that is off on ``home``: the VM is on there for a moment.

    A pass of the reconciliation that falls just between takes the key away again, as one that no VM
    uses (STD-17): then once more.
    """
    for _ in range(USE_TRIES):
        await _there_and_back(scene, event, vm, host, home)
        if not await lacks_a_key(scene, vm, host):
            break
    scene.book.write("note", host, "key used", vm=vm)


async def _there_and_back(
    scene: StagingScene, event: TableEvent, vm: VmName, host: NodeName, home: NodeName
) -> None:
    there = RegisterVm(vm=vm, cluster=cluster_of(event), host=host)
    back = RegisterVm(vm=vm, cluster=cluster_of(event), host=home)
    used = (PowerOnVm(vm=vm), PowerOffVm(vm=vm))
    steps: tuple[Request[Any], ...] = (UnregisterVm(vm=vm), there, *used, UnregisterVm(vm=vm), back)
    if scene.patience:  # its tasks take real time: it stays in the inventory, or a pass is sure to
        steps = (MigrateVm(vm=vm, host=host), *used, MigrateVm(vm=vm, host=home))  # fall between
    for step in steps:
        await scene.ask_vcenter(step)


async def lacks_a_key(scene: StagingScene, vm: VmName, host: NodeName) -> bool:
    """Whether the host lacks the key of the VM now."""
    info = next(one for one in await all_vms(scene.lab, scene.vcenter) if one.vm == vm)
    keys = () if info.key is None else (info.key,)
    found = await scene.lab.ask(host, GetCryptoKeyStatus(keys=keys))
    return not all(key.present for key in found.keys)


async def chill(scene: StagingScene) -> None:
    """Hosts forget the keys of cold VMs, as a boot makes them; they have the KDK still."""
    for vm, host in scene.cold.items():
        await scene.lab.ask(host, RemoveKeys(keys=scene.keys[vm]))
        scene.book.write("note", host, "key unused", vm=vm)


async def check_cold(scene: StagingScene) -> None:
    """``Void`` when a host has the key of a cold VM in its cache."""
    for vm, host in scene.cold.items():
        found = await scene.lab.ask(host, GetCryptoKeyStatus(keys=scene.keys[vm]))
        if any(key.present for key in found.keys):
            raise Void(f"{host} has used the key of {vm}")


async def take_provider(scene: StagingScene, host: NodeName) -> None:
    """By the host's own administrator; vCenter is not told. The host stays safe until its boot."""
    await scene.lab.ask(host, RemoveProvider(provider=P))
    scene.book.write("note", host, "provider removed", provider=P)


async def check_lacks_provider(scene: StagingScene, host: NodeName) -> None:
    """``Void`` when the host has a KDK of P: but for one that was made anew, which has come to
    it."""
    view = (await scene.lab.ask(host, QueryHost())).summary
    if view.crypto_state is not HostCryptoState.SAFE:
        raise Void(f"{host}, which lost its provider, is {view.crypto_state}")
    if P in view.kdks and scene.fault is not TableFault.F8:
        raise Void(f"{host} has the key derivation key of {P} again")


async def check_has_kdks(scene: StagingScene, host: NodeName) -> None:
    """``Void`` when a host lacks a KDK before the fault, or has another one."""
    for provider in (P, Q):
        if (shown := await kdk_at(scene, host, provider)) != PRESENT:
            raise Void(f"the key derivation key of {provider} on {host}: {shown}")


async def kdk_at(scene: StagingScene, host: NodeName, provider: ProviderId) -> str:
    """Whether the host has the KDK of before the fault, or another one, or none: by its fingerprint
    under a fresh secret, whatever its view says."""
    secret = scene.draws.token(32)
    answer = await scene.lab.ask(host, FingerprintKeys(secret=secret, kdks=True))
    view = (await scene.lab.ask(host, QueryHost())).summary
    found = {key.key_id: key.fingerprint for key in answer.keys if key.place == "kdk"}
    ids = [ref.key_id for ref in view.providers if ref.provider_id == provider]
    mine = [found[KeyId(id)] for id in ids if id in found]
    if not mine:
        return ABSENT
    kept = scene.kdks[provider].kdk.fingerprint(secret)
    return PRESENT if mine == [kept] else OTHER


async def register(scene: StagingScene, host: NodeName) -> None:
    """The host's endorsement key comes into the list of those that are trusted (TA-07)."""
    found = await scene.lab.ask(host, ExportTpmEndorsement())
    key = TrustedEndorsementKey(name=host, public_area=found.public_area)
    await _change(scene, ImportToTrustAuthority(endorsement_key=key))
    scene.book.write("note", TA_VCENTER, "endorsement key registered", host=host)


async def forget(scene: StagingScene, host: NodeName) -> None:
    """It leaves that list."""
    await _change(scene, RemoveFromTrustAuthority(kind=TrustItem.ENDORSEMENT_KEY, name=host))
    scene.book.write("note", TA_VCENTER, "endorsement key removed", host=host)


async def import_image(scene: StagingScene, host: NodeName) -> str:
    """The base image of what the host has booted is imported; its version."""
    image = (await scene.lab.ask(host, ExportBaseImage())).image
    await _change(scene, ImportToTrustAuthority(base_image=image))
    scene.book.write("note", TA_VCENTER, "base image imported", version=image.version)
    return image.version


async def withdraw_image(scene: StagingScene, version: str) -> None:
    """That base image is none of the trusted ones any more."""
    await _change(scene, RemoveFromTrustAuthority(kind=TrustItem.BASE_IMAGE, name=version))
    scene.book.write("note", TA_VCENTER, "base image withdrawn", version=version)


async def _change(
    scene: StagingScene, message: ImportToTrustAuthority | RemoveFromTrustAuthority
) -> None:
    await scene.lab.ask(TA_VCENTER, message, within_s=clock.TASK_S + scene.patience)


async def remediate(scene: StagingScene, cluster: ClusterName) -> None:
    """What is desired of the cluster's hosts is applied to them (HLT-02)."""
    message = RemediateTrustedCluster(cluster=cluster)
    await scene.ask_vcenter(message, within_s=clock.TASK_S)


async def attest(scene: StagingScene, host: NodeName) -> TrustAttestationStatus:
    """The host attests now, asked by its own administrator."""
    found = await scene.lab.ask(host, AttestHost(), within_s=clock.TASK_S + scene.patience)
    return status_of(found.reports)


async def fetch_applied(scene: StagingScene, host: NodeName) -> TrustedConfigurationState:
    """What the host has applied, and what services made of it, by its own word."""
    return await scene.lab.ask(host, QueryTrustedConfiguration())


async def find_trusted_host(scene: StagingScene, host: NodeName) -> TrustedHost | None:
    """The host as vCenter shows it among trusted ones; None when it does not."""
    found = await scene.lab.ask(scene.vcenter, QueryTrustedClusters())
    return next((one for one in found.hosts if one.host == host), None)


def status_of(reports: tuple[HostTrustReport, ...]) -> TrustAttestationStatus:
    """Attested by one service, or refused by one and attested by none (TA-11)."""
    there = {report.status for report in reports}
    for status in (TrustAttestationStatus.ATTESTED, TrustAttestationStatus.NOT_ATTESTED):
        if status in there:
            return status
    return TrustAttestationStatus.UNKNOWN


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
