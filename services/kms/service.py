"""One key server: its settings, its store, and the endpoints of its core.

``start`` opens the store and verifies all of it. When rows were altered, or the root does not give
its key, the server halts with the reason on its screen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ClassVar, Final

from protocol.errors import CryptographicFailure, NotAvailable, ProductError
from protocol.kmip.dialect import Login
from protocol.printable import quote_if_needed
from protocol.secret import KeyMaterial
from protocol.terms import Role
from protocol.tpm.errors import TpmError
from protocol.tpm.event_log import secure_boot_events
from services.kms.access.authorization import caller_at
from services.kms.access.rejections import RejectionTable
from services.kms.commit.group_commit import Commits
from services.kms.commit.unit_of_work import QueueChanges
from services.kms.custody.anchor import AnchorKeeper, RolledBack
from services.kms.custody.opening import OtherFormat, open_store
from services.kms.custody.rotation import Custody
from services.kms.custody.trail_retention import Retention
from services.kms.endpoints import kmip_clients
from services.kms.endpoints.administration import CustodyEndpoint, RejectionEndpoint
from services.kms.endpoints.bus import BusEndpoint
from services.kms.endpoints.forwarding import ForwardedMessages, HandingOn
from services.kms.endpoints.kmip.connections import KmipEndpoint
from services.kms.endpoints.kmip.messages import Messages
from services.kms.endpoints.kmip_clients import IdentityAdmission, IdentityEndpoint
from services.kms.endpoints.replication import GroupEndpoint, PairEndpoint
from services.kms.objects.identifiers import ids_of
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.buffered_reads import Readings
from services.kms.operations.core import KeyServerCore
from services.kms.replication import oplog, pair_state
from services.kms.replication.group import ReplicationGroup
from services.kms.replication.pair import ReplicationPair
from services.kms.sealing.roots.base import RootLocked, RootMeans
from services.kms.sealing.roots.passphrase import PASSPHRASE_OPTION
from services.kms.sealing.vault import Vault
from services.kms.settings.config import Auditing, KmsConfig, KmsTransport
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Database, Ports, Tpm
from services.runtime.service import Halted
from services.runtime.streams import CONNECTIONS, Listener, TlsIdentity

ACCEPT_OPTION: Final = "acceptRollback"
"""The boot option with which an administrator accepts an older database."""

RESTORED_OPTION: Final = "restoredBackup"
"""The boot option with which an administrator reports a restored backup, and names it."""

ROLLED_BACK: Final = (
    "Keys made since then would be missing, keys revoked since then would be usable again, and "
    "clients revoked since then let in again. "
    "Put the last copy of its disk back, or power it on with --accept-rollback"
)
DAMAGED: Final = (
    "Put a copy of its disk back; or remove its database keys.db and power it on with "
    "--accept-rollback, and it begins without keys"
)


OTHER_FORMAT: Final = (
    "Nothing in it was changed. Serve from it with the version of keystead that wrote it, or "
    "remove its database keys.db and power it on with --accept-rollback, and it begins without keys"
)

NO_IDENTITY: Final = (
    "Put the last copy of its disk back, or remove the file "
    f"{kmip_clients.CERTIFICATE_FILE}: it shows another certificate then, which vCenter has to "
    "trust first"
)

Shown = Callable[[], tuple[tuple[bytes, ...], KeyMaterial]]


class KmsService(
    BusEndpoint,
    PairEndpoint,
    GroupEndpoint,
    CustodyEndpoint,
    IdentityEndpoint,
    RejectionEndpoint,
    ForwardedMessages,
):
    """A key server (``NodeSpec.config`` as ``KmsConfig``)."""

    role: ClassVar[Role] = Role.KMS
    node: KmsNode

    def __init__(self, node: KmsNode, ports: Ports, config: KmsConfig) -> None:
        super().__init__(node, ports)
        self.config = config

    async def start(self) -> None:
        """Open the store; ``Halted`` when it is not as this server left it."""
        if self.tpm is not None:
            await self._power_tpm(self.tpm)
        try:
            means = RootMeans(self.disk, self.rng, self.tpm, self._passphrase())
            opened = await open_store(means, self.config.root, self.clock.now())
            database, vault = opened.database, opened.vault
            self._database, self._vault = database, vault
            buffered = self.config.audit is Auditing.BUFFERED
            follows = self.clock if buffered else None
            anchor = AnchorKeeper(self.node, self.disk, vault, self.tpm, follows)
            accepted = await self._check_age(database, anchor)
            commits = Commits(database, vault, self.node.background)
            self.core = KeyServerCore(
                self.node.name,
                database,
                vault,
                self.clock,
                self.rng,
                commits,
                queue_changes=self._change_queue(),
                ids=await ids_of(self.config.ids, database),
            )
            self.core.rejections = RejectionTable(opened.rejections, self.rng)
            if buffered:
                self.core.readings = Readings(
                    self.node, database, vault, self.clock, commits, self.core.refusals
                )
            local = caller_at(self.config, self.node.name, local=True)
            if accepted is not None:
                await self.core.rejections.begin_anew(self.core, local, accepted)
            await anchor.begin(database, accepted=accepted is not None)
            commits.witnesses.append(anchor)
            self._anchor = anchor
            self.custody = Custody(self.node, self.clock, means, opened, self.core, local)
            await self._meet_others(database, vault)
            await self.custody.begin()
            self.retention = Retention(
                self.node, self.clock, database, vault, self.core, self._anchor
            )
            self.retention.begin(left=opened.cut_left)
            if self.config.transport is KmsTransport.KMIP:
                await self._open_kmip_endpoint()
        except OtherFormat as error:
            raise self._build_halt(f"{error}. {OTHER_FORMAT}") from None
        except RootLocked as error:
            raise self._build_halt(str(error)) from None
        except CryptographicFailure as error:
            raise Halted(
                f"Key server {self.node.name} does not serve: {error}. {DAMAGED}"
            ) from None

    async def kmip_identities(self) -> IdentityAdmission:
        """The clients of KMIP, from the server's own table."""
        admission = IdentityAdmission(self.core, self._vault)
        await admission.load(self._database)
        return admission

    async def open_kmip(
        self,
        admission: IdentityAdmission,
        shown: Shown,
        authorities: tuple[bytes, ...] = (),
        *,
        outside: tuple[str, int] | None = None,
        refused: Callable[[ProductError], None] | None = None,
        most: int = CONNECTIONS,
        login: Login | None = None,
    ) -> Listener:
        """Accept KMIP connections; ``shown`` is called at each handshake and returns this server's
        certificate (DER, with the issuing ones) and its key (PKCS#8).

        TLS trusts clients whose certificate is in the table of identities or under one of
        ``authorities``; the table alone says what they may do. ``outside`` and ``most`` as in
        ``Streams.listen``; ``login`` as in ``Messages``. ``NotAvailable`` on a node without such
        connections, ``InvalidArgument`` when certificate or key are unusable.
        """
        if self.streams is None:
            raise NotAvailable(f"{self.node.name} takes no connections of TLS")
        hand_on = None
        if self.group is not None:
            hand_on = HandingOn(self.node, self.bus, self.clock, self.core, self.group)
        messages = Messages(self.core, self.clock, login, hand_on=hand_on)
        endpoint = KmipEndpoint(messages, self.clock, admission.caller)
        watch = kmip_clients.EndWatch(self.node, self.clock)

        def identity() -> TlsIdentity:
            chain, key = shown()
            watch.shows(chain[0])
            return TlsIdentity(chain, key, (*authorities, *admission.certificates()))

        return await self.streams.listen(
            identity, endpoint.serve, outside=outside, refused=refused, most=most
        )

    async def _open_kmip_endpoint(self) -> None:
        """Open the KMIP endpoint of a lab's key server: its clients are those trusted at its
        console."""
        try:
            days = self.node.knobs.kmip_certificate_days
            self.own = await kmip_clients.load_certificate(
                self.disk, self.rng, self.clock, self.node.name, days
            )
        except OSError as error:
            raise self._build_halt(f"{error.strerror or error}. {NO_IDENTITY}") from None
        self.admission = await self.kmip_identities()
        await self.open_kmip(
            self.admission, self.require_own_certificate, refused=self._handshake_failed
        )

    def _handshake_failed(self, error: ProductError) -> None:
        self.node.record("kmip.handshake_failed", level="warning", text=str(error))

    async def stop(self) -> None:
        """Write counted refusals and waiting rows, and shut the TPM down; a failing disk or TPM
        does not prevent the stop."""
        with suppress(ProductError):
            await self.core.write_all()
        await self._anchor.finish()
        if self.tpm is not None:
            with suppress(TpmError):
                await self.tpm.power_off(orderly=True)

    def _passphrase(self) -> KeyMaterial | None:
        given = self.node.power.boot_options.get(PASSPHRASE_OPTION)
        return None if given is None else KeyMaterial(given.encode())

    async def _power_tpm(self, tpm: Tpm) -> None:
        try:
            await tpm.power_on()
            await tpm.extend_log(secure_boot_events(self.node.power.firmware.secure_boot))
        except TpmError as error:
            self.node.record("tpm.unusable", level="warning", reason=str(error))

    async def _check_age(self, database: Database, anchor: AnchorKeeper) -> CoreOperation | None:
        """Record in the trail that an administrator restored a backup, which the server may not
        notice, or accepts an older database, which the anchor does notice."""
        options = self.node.power.boot_options
        seen = ""
        try:
            await anchor.check(database)
        except RolledBack as error:
            seen = str(error)
        if RESTORED_OPTION in options:
            backup = quote_if_needed(options[RESTORED_OPTION])
            self.node.record("kms.restored", level="warning", backup=backup, text=seen)
            return CoreOperation.RESTORE
        if not seen:
            return None
        if ACCEPT_OPTION not in options:
            raise self._build_halt(f"{seen}. {ROLLED_BACK}")
        self.node.record("kms.rollback_accepted", level="warning", text=seen)
        return CoreOperation.ACCEPT_ROLLBACK

    def _build_halt(self, why: str) -> Halted:
        return Halted(f"Key server {self.node.name} does not serve: {why}")

    def _change_queue(self) -> QueueChanges | None:
        """The function that queues changes for other servers."""
        if not self.config.peers:
            return None
        return pair_state.queue_changes if self.config.pairs else partial(oplog.put, self.node.name)

    async def _meet_others(self, database: Database, vault: Vault) -> None:
        self.pair = self.group = None
        if self.config.peers and not self.config.pairs:
            self.group = ReplicationGroup(
                self.node,
                self.bus,
                self.clock,
                self.rng,
                database,
                vault,
                self.core,
                self.config,
            )
            self.core.commits.witnesses.append(self.group)
            await self.group.start()
            return
        peer = self.config.peer
        if peer is None:
            await database.transact(lambda connection: pair_state.begin(connection, None))
            self.core.caught_up.set()
            return
        self.pair = ReplicationPair(
            self.node, self.bus, self.clock, database, vault, self.core, peer
        )
        self.core.commits.witnesses.append(self.pair)
        await self.pair.start()
