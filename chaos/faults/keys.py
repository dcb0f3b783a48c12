"""Faults that take keys away.

``kms.key_state``: keys are deactivated, compromised or destroyed at their key server (F8).
``provider.delete``: a key provider is deleted from vCenter (F7); use does not block it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import msgspec
from pydantic import model_validator

from chaos.administration import (
    back_up,
    by_kmip,
    import_backup,
    restore,
    take_backup,
    together,
    trust_each_other,
)
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets
from chaos.fields import name_validator
from chaos.lab import Directory, LabUnderTest
from chaos.observe.look import all_hosts, all_providers, all_vms
from chaos.oracle.effects import FaultEffect, Takes
from chaos.providers import kind_of
from protocol import names
from protocol.crypto.certificates import key_digest
from protocol.errors import ItemNotFound, ProductError
from protocol.messages.kms.keys import (
    Activate,
    Destroy,
    GetAttributes,
    KeyAttributes,
    Locate,
    Revoke,
)
from protocol.messages.kms.replication import QueryGroup
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import (
    MarkDefault,
    ProviderInfo,
    RegisterKmsCluster,
    RetrieveClientCert,
    UnregisterKmsCluster,
)
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyId,
    KmipState,
    NodeName,
    ProviderId,
    RevocationReason,
    Role,
    VmName,
)
from protocol.wrapped_keys import key_at_server

OLDER_DATABASE = "its cure is an older database, and no check follows which keys that loses"
"""Why a campaign draws none of such faults."""


class KeyAct(StrEnum):
    """What the operator of a key server does to a key; KMIP revokes with a reason, or destroys."""

    DEACTIVATE = "deactivate"
    COMPROMISE = "compromise"
    DESTROY = "destroy"


NOBODYS: Final = KeyId("no-key")
HEARD_S: Final = 10.0
"""For so long the others are given to hear of it where one server takes the changes."""

LOOK_S: Final = 0.1

REACHED = {
    KeyAct.DEACTIVATE: (KmipState.DEACTIVATED,),
    KeyAct.COMPROMISE: (KmipState.COMPROMISED,),
    KeyAct.DESTROY: (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED),
}


class KeyStateParams(Params):
    """What is done (``state: destroy``), and to what: ``vm: vm-01`` (its KEK), ``keys: [id]``.

    ``backup``: a backup that was taken before; left out, one is taken first.
    """

    state: KeyAct
    vm: str | list[str] | None = None
    keys: list[str] | None = None
    backup: Annotated[str, name_validator(names.BACKUP)] | None = None

    @model_validator(mode="after")
    def _names_keys(self) -> KeyStateParams:
        if (self.vm is None) == (self.keys is None):
            raise ValueError("give either vm or keys")
        return self


class KmsKeyState(Fault, frozen=True, kw_only=True):
    """Keys are deactivated, compromised or destroyed at every key server that has them.

    Those of ``vms`` are looked up at injection, since they are made at run time.
    """

    kind: ClassVar[str] = "kms.key_state"
    example: ClassVar[str] = "vm: vm-01, state: destroy"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.KEYS, Takes.NEWER_KEYS))
    drawn: ClassVar[Drawn] = Drawn.NEVER
    undrawn: ClassVar[str] = OLDER_DATABASE
    params: ClassVar[type[Params]] = KeyStateParams
    reversible: ClassVar[bool] = False
    state: KeyAct
    vms: tuple[VmName, ...] = ()
    keys: tuple[KeyId, ...] = ()
    servers: tuple[NodeName, ...]
    vcenters: tuple[NodeName, ...]
    backup: str = ""

    @classmethod
    def of(cls, id: str, params: KeyStateParams, targets: Targets) -> Fault:
        return cls(
            id=id,
            state=params.state,
            vms=() if params.vm is None else targets.vms(params.vm),
            keys=tuple(KeyId(key) for key in params.keys or ()),
            servers=targets.of_role(Role.KMS),
            vcenters=targets.of_role(Role.VCENTER),
            backup=params.backup or "",
        )

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        if not directory.vms:
            return None
        act = tuple(KeyAct)[draws.below(len(KeyAct))]
        return {"vm": list(map(str, draws.pick(directory.vms, 1))), "state": act.value}

    def file_fields(self) -> dict[str, Any]:
        whose = {"vm": list(map(str, self.vms))} if self.vms else {"keys": list(self.keys)}
        earlier = {"backup": self.backup} if self.backup else {}
        return {"state": self.state.value, **whose, **earlier}

    def touches(self) -> tuple[NodeName, ...]:
        return self.servers

    def summary(self) -> str:
        whose = ", ".join(self.vms) if self.vms else ", ".join(self.keys)
        return f"{self.state.value} the keys of {whose}"

    async def survey(self, lab: LabUnderTest) -> Notes:
        """``states``: server -> key -> state before; ``count``: keys on that server then;
        ``restores``: the servers that the cure would put an older backup on."""
        wanted = list(self.keys)
        for vcenter in self.vcenters if self.vms else ():
            for vm in await all_vms(lab, vcenter):
                if vm.vm in self.vms and vm.key is not None:
                    wanted.append(key_at_server(vm.key.key_id))
        wanted = list(dict.fromkeys(wanted))  # one wrapping key may be under several VMs
        states: dict[str, dict[str, str]] = {}
        counts: dict[str, int] = {}
        for server in self.servers:
            found = await attributes(lab, server, tuple(wanted))
            if found:
                states[server] = {str(key.key_id): key.state.value for key in found}
                counts[server] = (await lab.ask(server, Locate(limit=1))).total
        missing = [key for key in wanted if not any(key in of for of in states.values())]
        if missing or not wanted:
            raise ChaosError("KS-CHAOS-106", f"no key server has {missing or 'a key of these'}")
        await _hand_on(lab, [NodeName(server) for server in states])
        restores = list(together(lab, map(NodeName, states)))
        return {"states": states, "count": counts, "restores": restores}

    def history_fields(self, notes: Notes) -> dict[str, Any]:
        """``keys``: those whose state it changes; ``restores``: whose newer keys its cure loses."""
        keys = sorted({key for states in notes.get("states", {}).values() for key in states})
        return {"keys": keys, "restores": notes.get("restores", [])}

    def label(self) -> str:
        """The name of the backup from which the cure puts keys back."""
        return self.backup or f"fault-{self.id}"

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        if not self.backup:
            await back_up(lab, _hit(lab, notes), self.label())
        servers = [NodeName(server) for server in notes["states"]]
        for server in await _taking(lab, servers):
            for key in notes["states"][server]:
                await self._act(lab, server, KeyId(key))
        until = lab.monotonic() + HEARD_S
        if _forwarding(lab, servers):
            while lab.monotonic() < until and await self.bites(lab, notes):
                await lab.sleep(LOOK_S)

    async def _act(self, lab: LabUnderTest, server: NodeName, key: KeyId) -> None:
        compromise = self.state is KeyAct.COMPROMISE
        reason = RevocationReason.KEY_COMPROMISE if compromise else RevocationReason.UNSPECIFIED
        now = (await attributes(lab, server, (key,)))[0].state
        if compromise or now is KmipState.ACTIVE:
            await lab.ask(server, Revoke(key_id=key, reason=reason))
        if self.state is KeyAct.DESTROY:
            await lab.ask(server, Destroy(key_id=key))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """The key server's administrator reads the new state of each of these keys."""
        for server, keys in notes["states"].items():
            for key in await attributes(lab, NodeName(server), tuple(map(KeyId, keys))):
                if key.state not in REACHED[self.state]:
                    return f"{key.key_id} at {server} is {key.state.value}"
        return ""

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        for server, keys in notes.get("states", {}).items():
            found = await attributes(lab, NodeName(server), tuple(map(KeyId, keys)))
            now = {str(key.key_id): key.state.value for key in found}
            for key, before in keys.items():
                if now.get(key) != before:
                    return f"{key} at {server} is {now.get(key, 'not there')}, before {before}"
        return ""

    def cure_text(self) -> str:
        return (
            f"keystead kms restore {self.label()}: of {', '.join(self.servers)}, those that lost "
            "them; keys made since the backup are lost, so nothing may use them"
        )

    async def cure(self, lab: LabUnderTest, notes: Notes) -> None:
        try:
            if self.backup:
                await self._restore_earlier(lab, _hit(lab, notes))
                return
            for server in notes.get("states", {}):
                await self._keep_newer(lab, NodeName(server), notes)
            await restore(lab, _hit(lab, notes), self.label())
        except ProductError as error:
            raise ChaosError("KS-CHAOS-107", f"{type(error).__name__}: {error}") from error

    async def _restore_earlier(self, lab: LabUnderTest, servers: tuple[NodeName, ...]) -> None:
        """Restore a backup of some earlier time. When keys that VMs or hosts use were made since,
        what was there comes back instead, and that is told."""
        now = f"fault-{self.id}"
        used = [key_at_server(key.key_id) for key in await self._fetch_used_keys(lab)]
        before = [await attributes(lab, server, tuple(used)) for server in servers]
        await back_up(lab, servers, now)
        await restore(lab, servers, self.backup)
        lost: list[KeyId] = []
        for server, had in zip(servers, before, strict=True):
            ids = tuple(key.key_id for key in had)
            has = {key.key_id for key in await attributes(lab, server, ids)}
            lost += [key for key in ids if key not in has]
        if lost:
            await restore(lab, servers, now)
            raise ChaosError("KS-CHAOS-108", f"in use now: {', '.join(dict.fromkeys(lost))}")

    async def _fetch_used_keys(self, lab: LabUnderTest) -> list[CryptoKeyId]:
        """The keys of all VMs and hosts, each once."""
        found: dict[CryptoKeyId, None] = {}
        for vcenter in self.vcenters:
            vms, hosts = await all_vms(lab, vcenter), await all_hosts(lab, vcenter)
            wanted = [vm.key for vm in vms] + [host.crypto_key_id for host in hosts]
            found |= dict.fromkeys(key for key in wanted if key is not None)
        return list(found)

    async def _keep_newer(self, lab: LabUnderTest, server: NodeName, notes: Notes) -> None:
        """Refuse to throw away keys that VMs or hosts have come to use since."""
        newer = (await locate_keys(lab, server))[notes["count"][server] :]
        all_used = await self._fetch_used_keys(lab) if newer else []
        used = [key for one in all_used if (key := key_at_server(one.key_id)) in newer]
        if used:
            raise ChaosError("KS-CHAOS-108", f"in use now: {', '.join(dict.fromkeys(used))}")


def _forwarding(lab: LabUnderTest, servers: Sequence[NodeName]) -> list[NodeName]:
    """Those of which one takes the changes, and the others hand them on."""
    modes = {entry.node: entry.replication for entry in lab.directory().nodes}
    return [server for server in servers if modes.get(server) == "forward"]


async def _hand_on(lab: LabUnderTest, servers: Sequence[NodeName]) -> None:
    """Where a server cannot hand on, its refusal comes here, before anything is done at another,
    for there is no way back. What it is asked changes nothing."""
    for server in _forwarding(lab, servers):
        with suppress(ItemNotFound):
            await lab.ask(server, Activate(key_id=NOBODYS))


async def _taking(lab: LabUnderTest, servers: Sequence[NodeName]) -> tuple[NodeName, ...]:
    """Those at which something is to be done for it to be so at all of ``servers``: one that hands
    on would have done again what it has not heard of yet."""
    forwarding, taking = _forwarding(lab, servers), dict[NodeName, None]()
    for server in servers:
        active = (await lab.ask(server, QueryGroup())).active if server in forwarding else None
        taking[server if active is None or active not in servers else active] = None
    return tuple(taking)


def _hit(lab: LabUnderTest, notes: Notes) -> tuple[NodeName, ...]:
    """The servers that had the keys, and those that replicate with them."""
    return together(lab, [NodeName(server) for server in notes.get("states", {})])


async def locate_keys(lab: LabUnderTest, server: NodeName) -> tuple[KeyId, ...]:
    """The ids of all keys that a server has, in order of creation."""
    found: list[KeyId] = []
    while True:
        page = await lab.ask(server, Locate(after=found[-1] if found else KeyId("")))
        found += page.key_ids
        if not page.key_ids or len(found) >= page.total:
            return tuple(found)


async def attributes(
    lab: LabUnderTest, server: NodeName, keys: tuple[KeyId, ...]
) -> tuple[KeyAttributes, ...]:
    """The attributes of those of ``keys`` that the server has, asked by its administrator."""
    return (await lab.ask(server, GetAttributes(key_ids=keys))).keys if keys else ()


NOT_BACKED_UP: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotBackedUp"
NOT_CONFIRMED_BY: Final = "not_confirmed_by"
NOT_AVAILABLE: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotAvailable"


class ProviderParams(Params):
    """Which provider, and of which vCenter; what is left out is the lab's default provider, and
    its first vCenter."""

    provider: str | None = None
    vcenter: str | None = None


class ProviderDeleteFault(Fault, frozen=True, kw_only=True):
    """A key provider is removed from vCenter, with the passwords of its servers' entries.

    Hosts evict its keys after the grace period; its keys stay on the key servers. A native or
    trusted provider has left the hosts when the deletion ends, but for hosts that did not confirm
    it within ``request_timeout_s``, which are named.
    """

    kind: ClassVar[str] = "provider.delete"
    example: ClassVar[str] = ""
    effect: ClassVar[FaultEffect] = FaultEffect(
        (Takes.PROVIDER,), undone_with=("provider", "vcenter")
    )
    drawn: ClassVar[Drawn] = Drawn.RARE
    params: ClassVar[type[Params]] = ProviderParams
    reversible: ClassVar[bool] = False
    provider: ProviderId
    vcenter: NodeName
    named: bool = False  # whether the file says which vCenter

    @classmethod
    def of(cls, id: str, params: ProviderParams, targets: Targets) -> Fault:
        provider, vcenter = targets.provider(params.provider, params.vcenter)
        named = params.vcenter is not None
        return cls(id=id, provider=provider, vcenter=vcenter, named=named)

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return None if directory.default_provider is None else {}

    def file_fields(self) -> dict[str, Any]:
        at = {"vcenter": str(self.vcenter)} if self.named else {}
        return {"provider": str(self.provider), **at}

    def touches(self) -> tuple[NodeName, ...]:
        return (self.vcenter,)

    def summary(self) -> str:
        return f"key provider {self.provider} deleted at {self.vcenter}"

    async def _find_provider(self, lab: LabUnderTest) -> ProviderInfo | None:
        providers = await all_providers(lab, self.vcenter)
        return next((p for p in providers if p.provider == self.provider), None)

    async def survey(self, lab: LabUnderTest) -> Notes:
        listed = await self._find_provider(lab)
        if listed is None:
            raise ChaosError("KS-CHAOS-106", f"{self.vcenter} has no provider {self.provider}")
        notes: Notes = {"provider": msgspec.to_builtins(listed)}
        if by_kmip(lab, listed.servers):
            shown = await lab.ask(self.vcenter, RetrieveClientCert(provider=self.provider))
            if shown.certificate is not None:
                notes["client"] = key_digest(shown.certificate.certificate).hex()
        if kind_of(listed.management_type).derived:
            if {NOT_BACKED_UP, NOT_AVAILABLE} & set(listed.details):  # our backup would change it
                return notes
            backup = await take_backup(lab, self.vcenter, self.provider)
            notes["backup"] = b64encode(backup.reveal()).decode()
        return notes

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        deleted = await lab.ask(self.vcenter, UnregisterKmsCluster(provider=self.provider))
        notes[NOT_CONFIRMED_BY] = list(deleted.hosts)

    def history_fields(self, notes: Notes) -> dict[str, Any]:
        """Hosts that have not confirmed that they dropped the provider, when it was deleted."""
        hosts = notes.get(NOT_CONFIRMED_BY)
        return {NOT_CONFIRMED_BY: hosts} if hosts else {}

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        return "it is still listed" if await self._find_provider(lab) is not None else ""

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        listed = await self._find_provider(lab)
        if listed is None:
            return f"{self.vcenter} lists no provider {self.provider}"
        before = msgspec.convert(notes["provider"], ProviderInfo)
        if listed.servers != before.servers or listed.key_id != before.key_id:
            return f"{self.provider} is listed with other servers, or another key"
        if before.default and not listed.default:
            return f"{self.provider} is no longer the default"
        return ""

    def cure_text(self) -> str:
        return (
            f"add a provider of exactly the name {self.provider} with the servers it had, their "
            "user names and passwords (a native one: import its backup), have vCenter and its KMIP "
            "servers trust each other, make it the default again if it was, and re-enable host "
            "encryption mode where it is lost"
        )

    async def cure(self, lab: LabUnderTest, notes: Notes) -> None:
        before = msgspec.convert(notes["provider"], ProviderInfo)
        users = [one.name for one in before.servers if one.user_name]
        if users and await self._find_provider(lab) is None:
            text = f"{', '.join(users)} had a user name: nobody but a person has the password"
            raise ChaosError("KS-CHAOS-107", f"{text}; add {self.provider} by hand first")
        try:
            if kind_of(before.management_type).derived:
                await self._import(lab, before, notes)
            else:
                await lab.ask(
                    self.vcenter,
                    RegisterKmsCluster(
                        provider=self.provider,
                        management_type=before.management_type,
                        servers=before.servers,
                        make_default=before.default,
                    ),
                )
                # what vCenter trusted, and the certificate that it showed, went with the provider
                kmip = by_kmip(lab, before.servers)
                like = notes.get("client", "")
                names = {one.node: one.name for one in before.servers if one.node}
                await trust_each_other(
                    lab, self.vcenter, self.provider, kmip, like=like, names=names
                )
            for host in await all_hosts(lab, self.vcenter):
                connected = host.connection is HostConnectionState.CONNECTED
                if connected and host.crypto_state is not HostCryptoState.SAFE:
                    await lab.ask(self.vcenter, ConfigureCryptoKey(host=host.host))
        except ProductError as error:
            raise ChaosError("KS-CHAOS-107", f"{type(error).__name__}: {error}") from error

    async def _import(self, lab: LabUnderTest, before: ProviderInfo, notes: Notes) -> None:
        if "backup" not in notes:
            text = f"{self.provider} was not backed up before it was deleted: its keys are lost"
            raise ChaosError("KS-CHAOS-107", text)
        listed = await self._find_provider(lab)
        if listed is not None and listed.key_id == before.key_id:  # a person, or a cure before
            if before.default and not listed.default:
                await lab.ask(self.vcenter, MarkDefault(provider=self.provider))
            return
        backup = KeyMaterial(b64decode(notes["backup"]))
        await import_backup(lab, self.vcenter, backup, make_default=before.default)
