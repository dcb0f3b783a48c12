"""``CryptoManagerKmip``: key providers, their servers and keys, and the trust between vCenter and
the KMIP servers of a provider. What came with 9.0 (wrapped keys, KEY-07) is left out by the writers
for clients of an older version.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers.keys import WrappingKey
from lab.schema.commands.keys import KMIP, Entry, KeyTypeName, ProviderKeys
from lab.schema.errors import KeysteadError
from lab.vsphere.faults import fault_of, invalid_argument, key_id, key_text
from lab.vsphere.files import secret_file
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.history import when
from lab.vsphere.vim.managed import Managed, build, operation
from protocol.authorization import Privilege
from protocol.terms import KeyType, ManagementType

ENC = vim.encryption
_SPEC, _INFO = ENC.KmipServerSpec, ENC.KmipClusterInfo
_STATUS = ENC.CryptoManagerKmip.CryptoKeyStatus


def read_key_type(text: str | None, argument: str) -> KeyTypeName:
    """``rawKey``, ``wrappedKey``, or empty for none; ``InvalidArgument`` for another text."""
    if not text:
        return ""
    if text == KeyType.RAW.value:
        return "rawKey"
    if text == KeyType.WRAPPED.value:
        return "wrappedKey"
    raise invalid_argument(argument, f"{text}: a key type is rawKey or wrappedKey")


def read_provider_keys(server: Any) -> ProviderKeys:
    """What a ``KmipServerSpec`` says of the new keys of its provider; nothing: no change.
    ``InvalidArgument`` for a ``keySpec`` without a type."""
    key_type, spec = read_key_type(server.defaultKeyType, "server.defaultKeyType"), server.keySpec
    if spec is None:
        return ProviderKeys(key_type=key_type)
    if not key_type:
        raise invalid_argument("server.keySpec", "a keySpec needs a defaultKeyType")
    if isinstance(spec, _SPEC.WrappingKeyIdKeySpec):
        if not spec.keyId:
            raise invalid_argument("server.keySpec", "the id of the wrapping key is empty")
        return ProviderKeys(key_type=key_type, wrapping_key=str(spec.keyId))
    if isinstance(spec, _SPEC.WrappingRotationIntervalKeySpec):
        return ProviderKeys(key_type=key_type, rotation_days=spec.rotationInterval)
    raise invalid_argument("server.keySpec", "name a wrapping key or a rotation interval")


def provider_fields(row: answers.Provider) -> dict[str, Any]:
    """``defaultKeyType`` and ``keyInfo`` of a ``KmipClusterInfo``, of a standard provider."""
    if row.management_type is not ManagementType.VCENTER:
        return {}
    key_type = row.key_type or KeyType.RAW
    return {"defaultKeyType": key_type.value, "keyInfo": _provider_info(row)}


def _provider_info(row: answers.Provider) -> Any:
    key = row.wrapping_key
    if key is not None and key.by_id:
        return build(_INFO.WrappingKeyIdKeyInfo, keyId=key.key_id, configuredTime=_time(key.since))
    if key is None and row.rotation_days is None and row.key_type is not KeyType.WRAPPED:
        return None
    return build(
        _INFO.WrappingRotationIntervalKeyInfo,
        keyId=None if key is None else key.key_id,
        rotationInterval=row.rotation_days,
        lastRotation=_time(row.rotated_at),
    )


def wrapping_key_info(key: WrappingKey | None) -> Any:
    """``keyInfo`` of a ``CryptoKeyStatus``; None for a raw key."""
    if key is None:
        return None
    if key.by_id:
        return build(
            _STATUS.WrappingKeyIdKeyInfo, keyId=key.key_id, configuredTime=_time(key.since)
        )
    if key.since is None:
        return _STATUS.KeyInfo(keyId=key.key_id)
    return build(
        _STATUS.WrappingRotationIntervalKeyInfo,
        keyId=key.key_id,
        createTime=_time(key.since),
        rotateTime=_time(key.until),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else when(seconds)


MANAGER = vim.encryption.CryptoManagerKmip


def certificate_info(pem: str, now: datetime) -> Any:
    """What is said of a certificate; None for an empty text."""
    if not pem:
        return None
    one = x509.load_pem_x509_certificate(pem.encode())
    begin, end = one.not_valid_before_utc, one.not_valid_after_utc
    return MANAGER.CertificateInfo(
        subject=one.subject.rfc4514_string(), issuer=one.issuer.rfc4514_string(),
        serialNumber=f"{one.serial_number:X}", notBefore=begin, notAfter=end, checkTime=now,
        fingerprint=one.fingerprint(hashes.SHA1()).hex(":").upper(),  # noqa: S303 - as it is shown
        secondsSinceValid=int((now - begin).total_seconds()),
        secondsBeforeExpire=int((end - now).total_seconds()),
    )  # fmt: skip


@contextlib.contextmanager
def _refusing(argument: str) -> Iterator[None]:
    """``InvalidArgument`` for what is no certificate."""
    try:
        yield
    except ValueError:
        raise invalid_argument(argument, "it is no certificate in PEM") from None


def read_certificates(text: str, argument: str = "certificate") -> tuple[bytes, ...]:
    """The certificates of a text in PEM, as DER; ``InvalidArgument`` when there is none."""
    with _refusing(argument):
        found = x509.load_pem_x509_certificates(text.encode())
        return tuple(one.public_bytes(serialization.Encoding.DER) for one in found)


class KmipTrust(Managed):
    """The operations; a subclass has the rest."""

    kind = MANAGER

    async def _trust(self, request: ApiRequest, cluster: Any) -> answers.ProviderTrustList:
        found: answers.ProviderTrustList = await request.ask(c.ProviderTrust(cluster.id))
        return found

    @operation
    async def RetrieveKmipServerCert(
        self, request: ApiRequest, keyProvider: Any, server: Any
    ) -> Any:
        """What a key server shows, and whether both sides trust each other."""
        rows = (await self._trust(request, keyProvider)).items
        row = next((r for r in rows if r.server == server.name), None)
        if row is None:
            raise invalid_argument("server", f"{keyProvider.id} has no KMIP server {server.name}")
        if not row.certificate:
            text = row.reason or f"the key server {row.server} does not answer"
            raise vmodl.RuntimeFault(msg=text)
        return MANAGER.ServerCertInfo(
            certificate=row.certificate,
            certInfo=certificate_info(row.certificate, datetime.now(UTC)),
            clientTrustServer=row.client_trust_server,
        )

    @operation
    async def UploadKmipServerCert(
        self, request: ApiRequest, cluster: Any, certificate: str
    ) -> None:
        """Have vCenter trust a key server that shows this certificate, or one that it signed."""
        for one in read_certificates(certificate):
            await request.do(c.ProviderTrustServers(cluster.id, one))

    @operation
    async def GenerateSelfSignedClientCert(
        self, caller: ApiRequest, /, cluster: Any, request: Any = None
    ) -> str:
        """Have vCenter show another certificate, which it has signed itself, at once."""
        done = await caller.do(c.ProviderRenewCertificate(cluster.id))
        return str(done.certificate)

    @operation
    async def RetrieveSelfSignedClientCert(self, request: ApiRequest, cluster: Any) -> str:
        """The certificate that vCenter shows."""
        return (await self._trust(request, cluster)).certificate

    @operation
    async def UpdateSelfSignedClientCert(
        self, request: ApiRequest, cluster: Any, certificate: str
    ) -> None:
        """Nothing is left to do: a certificate is shown as soon as it is made."""
        shown = (await self._trust(request, cluster)).certificate
        if read_certificates(certificate)[0] != read_certificates(shown)[0]:
            raise invalid_argument("certificate", "vCenter did not make this certificate last")

    @operation
    async def GenerateClientCsr(
        self, caller: ApiRequest, /, cluster: Any, request: Any = None
    ) -> str:
        """A request for a certificate, of another key."""
        return str((await caller.do(c.ProviderSigningRequest(cluster.id, new=True))).request)

    @operation
    async def RetrieveClientCsr(self, request: ApiRequest, cluster: Any) -> str:
        """The request that was made last; empty when none was made."""
        try:
            return str((await request.ask(c.ProviderSigningRequest(cluster.id))).request)
        except KeysteadError as error:
            if isinstance(fault_of(error), vim.fault.NotFound):
                return ""
            raise

    @operation
    async def UpdateKmsSignedCsrClientCert(
        self, request: ApiRequest, cluster: Any, certificate: str
    ) -> None:
        """Have vCenter show the certificate that was issued for its request."""
        await request.do(c.ProviderUploadCertificate(cluster.id, read_certificates(certificate)))

    @operation
    async def RetrieveClientCert(self, request: ApiRequest, cluster: Any) -> str:
        """The certificate that vCenter shows."""
        return (await self._trust(request, cluster)).certificate

    @operation
    async def UploadClientCert(
        self, request: ApiRequest, cluster: Any, certificate: str, privateKey: str
    ) -> None:
        """Have vCenter show this certificate, with this private key."""
        chain = read_certificates(certificate)
        with secret_file(privateKey) as path:
            await request.do(c.ProviderUploadCertificate(cluster.id, chain, path))


KMIP_PORT = 5696
AVAILABLE, BY_VMS, BY_HOSTS = 1, 2, 4
_BITS = {
    ManagementType.VCENTER: 1,
    ManagementType.TRUST_AUTHORITY: 2,
    ManagementType.NATIVE_PROVIDER: 8,
}
_SAME_KEYS = ProviderKeys()


def _provider_id(name: str) -> Any:
    return ENC.KeyProviderId(id=name)


def _address(server: str) -> tuple[str, int]:
    """Where a server of a provider is: a node of the lab by its name, another one as HOST:PORT."""
    host, colon, port = server.removeprefix(KMIP).rstrip("/").rpartition(":")
    if colon and port.isdigit():
        return host.strip("[]"), int(port)
    return server.removeprefix(KMIP), KMIP_PORT


def _servers(row: answers.Provider) -> list[tuple[str, str]]:
    return list(zip(row.servers, row.addresses, strict=True))


def _format_server(name: str, address: str) -> str:
    """A server as the command writes it."""
    outside = ":" in address
    return f"{name}={KMIP if outside else ''}{address}"


@contextlib.asynccontextmanager
async def _entry(info: Any, password: str | None) -> AsyncIterator[Entry]:
    """What is said of the entry of a server; its password lies in a file as long as this lasts."""
    timeout = info.timeout or None
    if not info.userName:
        yield Entry(timeout=timeout)
        return
    with secret_file(password or "") as path:
        yield Entry(timeout=timeout, user=info.userName, password_file=path)


def server_infos(row: answers.Provider) -> list[Any]:
    """The key servers of a provider."""
    found = []
    for name, address in _servers(row):
        host, port = _address(address)
        found.append(ENC.KmipServerInfo(name=name, address=host, port=port, protocol="KMIP"))
    return found


def cluster_info(inventory: Any, row: answers.Provider, *, with_servers: bool = True) -> Any:
    """A key provider as ``KmipClusterInfo``."""
    native = row.management_type is ManagementType.NATIVE_PROVIDER
    return build(
        ENC.KmipClusterInfo,
        clusterId=_provider_id(row.provider),
        servers=server_infos(row) if with_servers else [],
        useAsDefault=row.default,
        managementType=str(row.management_type.value),
        useAsEntityDefault=[
            inventory.clusters[str(name)].ref
            for name in row.default_of
            if str(name) in inventory.clusters
        ],
        hasBackup=not any(d.endswith(_NOT_BACKED_UP) for d in row.details) if native else None,
        tpmRequired=row.tpm_required if native else None,
        keyId=row.key_id or None,
        **provider_fields(row),
    )  # fmt: skip


_NOT_BACKED_UP = ".keyProviderNotBackedUp"
_BY_HEALTH = {"NONE": "gray", "OK": "green", "WARNING": "yellow", "ERROR": "red"}


def cluster_status(row: answers.Provider) -> Any:
    """A key provider with the state of its servers, as vCenter saw it last."""
    native = row.management_type is ManagementType.NATIVE_PROVIDER
    return build(
        ENC.CryptoManagerKmip.ClusterStatus,
        clusterId=_provider_id(row.provider),
        overallStatus=_BY_HEALTH[row.health.value] if native else row.status or "gray",
        managementType=str(row.management_type.value),
        servers=[
            ENC.CryptoManagerKmip.ServerStatus(
                name=server,
                status="red" if server in row.unreachable else "green",
                connectionStatus="Connection failed" if server in row.unreachable else "Normal",
            )
            for server in row.servers
        ],
    )  # fmt: skip


class CryptoManagerKmip(KmipTrust):
    """Key providers of vCenter."""

    kind = ENC.CryptoManagerKmip
    properties = {
        "enabled": lambda m: True,
        "kmipServers": lambda m: [
            cluster_info(m.inventory, row) for row in m.inventory.snapshot.providers
        ],
    }

    guards = {"kmipServers": Privilege.READ_KEY_SERVERS}

    def __init__(self, object_id: str, inventory: Any) -> None:
        super().__init__(object_id)
        self.inventory = inventory

    def _row(self, provider: Any, argument: str = "clusterId") -> answers.Provider:
        name = provider.id if provider is not None else ""
        rows: tuple[answers.Provider, ...] = self.inventory.snapshot.providers
        for row in rows:
            if row.provider == name:
                return row
        raise invalid_argument(argument, f"there is no key provider {name}")

    # ---- providers and servers

    @operation
    async def ListKmipServers(self, request: ApiRequest, limit: int | None = None) -> list[Any]:
        """Key providers with their servers."""
        await request.require(Privilege.READ_KEY_SERVERS, ref=self.ref)
        found = self.get("kmipServers")
        return list(found if limit is None else found[: max(limit, 0)])

    @operation
    async def ListKmsClusters(
        self, request: ApiRequest, includeKmsServers: bool | None = None,
        managementTypeFilter: int | None = None, statusFilter: int | None = None,
    ) -> list[Any]:  # fmt: skip
        """Key providers by type and state."""
        await request.require(Privilege.READ_KEY_SERVERS, ref=self.ref)
        found = []
        for row in self.inventory.snapshot.providers:
            if managementTypeFilter not in (None, -1) and not (
                _BITS.get(row.management_type, 0) & managementTypeFilter
            ):
                continue
            if statusFilter not in (None, -1) and not (
                (1 if row.status == "green" else 2) & statusFilter
            ):
                continue
            shown = bool(includeKmsServers)
            found.append(cluster_info(self.inventory, row, with_servers=shown))
        return found

    @operation
    async def IsKmsClusterActive(self, request: ApiRequest, cluster: Any = None) -> bool:
        """Whether a provider, or the default one, can be used now."""
        await request.require(Privilege.READ_KEY_SERVERS, ref=self.ref)
        if cluster is not None:
            return self._row(cluster, "cluster").status == "green"
        return any(r.default and r.status == "green" for r in self.inventory.snapshot.providers)

    @operation
    async def RegisterKmipServer(self, request: ApiRequest, server: Any) -> None:
        """Add a key server; the first of a provider makes the provider. A node of the lab has its
        name as its address; any other server is asked by KMIP at its address and port."""
        provider, info = server.clusterId.id, server.info
        known = [r for r in self.inventory.snapshot.providers if r.provider == provider]
        if any(info.name in row.servers for row in known):
            raise vim.fault.AlreadyExists(name=info.name, msg=f"{provider} has {info.name}")
        servers = [_format_server(*one) for row in known for one in _servers(row)]
        servers.append(_format_server(info.name, self._address_of(info)))
        keys = read_provider_keys(server)
        await request.do(c.ProviderAdd(provider, tuple(servers), keys=keys))
        await self._set_entry(request, provider, server)

    def _address_of(self, info: Any) -> str:
        nodes = self.inventory.snapshot.nodes
        return str(info.address) if info.address in nodes else f"{info.address}:{info.port}"

    @operation
    async def UpdateKmipServer(self, request: ApiRequest, server: Any) -> None:
        """Change the time-out and the user of a key server, and what new keys of its provider are;
        its address stays."""
        row, info = self._row(server.clusterId), server.info
        address = dict(_servers(row)).get(info.name)
        if address is None:
            raise invalid_argument("server", f"{row.provider} has no server {info.name}")
        if address != self._address_of(info):
            raise vmodl.fault.NotSupported(msg="remove the server, and register it elsewhere")
        await self._set_entry(request, row.provider, server, read_provider_keys(server))

    async def _set_entry(
        self, request: ApiRequest, provider: str, server: Any, keys: ProviderKeys = _SAME_KEYS
    ) -> None:
        async with _entry(server.info, server.password) as entry:
            if entry != Entry() or keys != _SAME_KEYS:
                await request.do(c.ProviderSet(provider, (server.info.name,), entry, keys))

    @operation
    async def RemoveKmipServer(self, request: ApiRequest, clusterId: Any, serverName: str) -> None:
        """Remove a key server; the last one of a provider removes the provider."""
        row = self._row(clusterId)
        if serverName not in row.servers:
            raise invalid_argument("serverName", f"{clusterId.id} has no server {serverName}")
        left = [_format_server(*one) for one in _servers(row) if one[0] != serverName]
        if left:
            await request.do(c.ProviderAdd(row.provider, tuple(left)))
        else:
            await request.do(c.ProviderDelete(row.provider))

    @operation
    async def RegisterKmsCluster(
        self, request: ApiRequest, clusterId: Any, managementType: str | None = None
    ) -> None:
        """Register a trusted provider. A standard one comes with its first server, a native one by
        REST."""
        if managementType != ManagementType.TRUST_AUTHORITY.value:
            raise invalid_argument("managementType", "only trustAuthority can be registered")
        await request.do(c.TrustRegister(clusterId.id))

    @operation
    async def UnregisterKmsCluster(self, request: ApiRequest, clusterId: Any) -> None:
        """Remove a key provider; its use does not keep it."""
        await request.do(c.ProviderDelete(self._row(clusterId).provider))

    @operation
    async def MarkDefault(self, request: ApiRequest, clusterId: Any) -> None:
        """Make a provider the default one for new keys."""
        await request.do(c.ProviderDefault(self._row(clusterId).provider))

    @operation
    async def SetDefaultKmsCluster(
        self, request: ApiRequest, entity: Any = None, clusterId: Any = None
    ) -> None:
        """Make a provider the default one of a cluster, or of vCenter."""
        name = self._row(clusterId).provider if clusterId is not None else ""
        if entity is None and not name:
            raise vmodl.fault.NotSupported(msg="the default provider is replaced, never cleared")
        if entity is None:
            await request.do(c.ProviderDefault(name))
            return
        if not isinstance(entity, vim.ClusterComputeResource):
            raise vmodl.fault.NotSupported(msg="of a lab, clusters have a default provider")
        await request.do(c.ClusterDefaultProvider(request.inventory.find(entity).get("name"), name))

    @operation
    async def GetDefaultKmsCluster(
        self, request: ApiRequest, entity: Any = None, defaultsToParent: bool | None = None
    ) -> Any:
        """The default provider of a cluster, or of vCenter."""
        await request.require(Privilege.READ_KEY_SERVERS, ref=self.ref)
        if entity is not None:
            name = request.inventory.find(entity).get("name")
            for row in self.inventory.snapshot.providers:
                if name in row.default_of:
                    return _provider_id(row.provider)
            if not defaultsToParent:
                return None
        for row in self.inventory.snapshot.providers:
            if row.default:
                return _provider_id(row.provider)
        return None

    @operation
    async def RetrieveKmipServersStatus_Task(self, request: ApiRequest, clusters: Any = ()) -> Any:
        """The state of providers and servers."""
        await request.require(Privilege.READ_KEY_SERVERS, ref=self.ref)
        wanted = {info.clusterId.id for info in clusters or ()}

        async def work(do: Any) -> Any:
            rows = (await do(c.GetProviders())).items
            found = [cluster_status(r) for r in rows if not wanted or r.provider in wanted]
            return ENC.CryptoManagerKmip.ClusterStatus.Array(found)

        return await request.start(self, "RetrieveKmipServersStatus_Task", work)

    # ---- keys

    @operation
    async def GenerateKey(
        self, request: ApiRequest, keyProvider: Any = None, spec: Any = None, keySpec: Any = None
    ) -> Any:
        """Make a key at a standard provider, of the type of ``keySpec``. A failure is told in the
        result."""
        name = keyProvider.id if keyProvider is not None else ""
        if name and self._row(keyProvider, "keyProvider").management_type is (
            ManagementType.NATIVE_PROVIDER
        ):
            raise vmodl.fault.NotSupported(msg="hosts derive the keys of a native provider")
        key_type = read_key_type(keySpec and keySpec.keyType, "keySpec.keyType")
        try:
            known = await request.do(c.KeyGenerate(name, key_type))
        except KeysteadError as error:
            found = fault_of(error, self.ref)
            if isinstance(found, vim.fault.NoPermission):
                raise
            return ENC.CryptoKeyResult(
                keyId=ENC.CryptoKeyId(keyId="", providerId=_provider_id(name) if name else None),
                success=False, reason=str(error), fault=found,
            )  # fmt: skip
        return ENC.CryptoKeyResult(keyId=key_id(known.key), success=True)

    @operation
    async def ListKeys(self, request: ApiRequest, limit: int | None = None) -> list[Any]:
        """The keys that vCenter knows."""
        keys = [key_id(row.key) for row in (await request.ask(c.KeyIds())).items]
        return keys if limit is None else keys[: max(limit, 0)]

    @operation
    async def RemoveKey(self, request: ApiRequest, key: Any, force: bool) -> None:
        """Make vCenter forget a key; the key server keeps it."""
        await request.do(c.KeyRemove(key_text(key), force=bool(force)))

    @operation
    async def RemoveKeys(
        self, request: ApiRequest, keys: Any = (), force: bool = False
    ) -> list[Any]:
        """Make vCenter forget keys; what came of each."""
        found = []
        for key in keys or ():
            try:
                await request.do(c.KeyRemove(key_text(key), force=bool(force)))
                found.append(ENC.CryptoKeyResult(keyId=key, success=True))
            except KeysteadError as error:
                found.append(
                    ENC.CryptoKeyResult(
                        keyId=key, success=False, reason=str(error), fault=fault_of(error)
                    )
                )
        return found

    @operation
    async def QueryCryptoKeyStatus(
        self, request: ApiRequest, keyIds: Any = (), checkKeyBitMap: int = 0
    ) -> list[Any]:
        """Whether keys are available, and who uses them."""
        rows = {str(r.key): r for r in (await request.ask(c.GetKeys())).items}
        wanted: Iterable[Any] = keyIds or [key_id(text) for text in rows]
        return [self._key_status(key, rows.get(key_text(key)), checkKeyBitMap) for key in wanted]

    def _key_status(self, key: Any, row: answers.KeyStatus | None, bits: int) -> Any:
        info = wrapping_key_info(row.wrapping_key) if row is not None else None
        found = ENC.CryptoManagerKmip.CryptoKeyStatus(keyId=key, keyInfo=info)
        inventory = self.inventory
        if bits & AVAILABLE:
            found.keyAvailable = row is not None and row.available
            reason = self._reason(key, row)
            if reason:
                found.reason = reason
        if row is not None and bits & BY_VMS:
            found.encryptedVMs = [
                inventory.vms[str(v)].ref for v in row.encrypted_vms if str(v) in inventory.vms
            ]
        if row is not None and bits & BY_HOSTS:
            found.affectedHosts = [
                inventory.hosts[str(h)].ref for h in row.affected_hosts if str(h) in inventory.hosts
            ]
        return found

    def _reason(self, key: Any, row: answers.KeyStatus | None) -> str:
        if row is not None:
            return str(row.reason.value) if row.reason else ""
        if key.providerId is None:
            return "KeyStateMissingInCache"
        known = {p.provider: p for p in self.inventory.snapshot.providers}
        provider = known.get(key.providerId.id)
        if provider is None:
            return "KeyStateClusterInvalid"
        if provider.status == "red":
            return "KeyStateClusterUnreachable"
        return "KeyStateMissingInKMS"
