"""Bugs that leave key material in clear."""

from __future__ import annotations

import base64
from typing import Any

from protocol.secret import KeyMaterial
from protocol.subjects import event_subject
from services.esxi import boot, crypto_manager
from services.esxi.service import EsxiService
from services.esxi.vms import registration
from services.kms.custody import opening
from services.kms.endpoints.bus import BusEndpoint
from services.vcenter.providers.standard import StandardProvider
from services.vcenter.service import VcenterService
from tests.mutations.bugs.planting import plant, replaces


def config_key_written_down() -> None:
    """CFG-02 broken: what the TPM unsealed at a boot lies on the disk afterwards."""

    @replaces(boot, "_unseal_config_key")
    async def unsealed(original: Any, host: Any, protection: Any) -> Any:
        found = await original(host, protection)
        await host.disk.write("unsealed.bin", found.reveal())
        return found


def dek_beside_the_vm() -> None:
    """VM encryption broken: the DEK of a new VM lies on the datastore beside it, in hexadecimal."""

    _deks: dict[str, bytes] = {}

    @replaces(registration, "encrypt_config")
    def encrypted_config(original: Any, config: Any, *how: Any) -> Any:
        made, keys = original(config, *how)
        _deks[config.vm] = keys.deks[0].reveal()
        return made, keys

    @replaces(registration, "create_vm")
    async def create(original: Any, host: Any, name: Any, *how: Any) -> Any:
        vm = await original(host, name, *how)
        if name in _deks:
            await host.datastore.write(name, "notes.txt", _deks[name].hex().encode())
        return vm


def key_leaks() -> None:
    """A27 broken on purpose: one key is put in clear into every kind of place, each in another
    form.

    Raw on the host's disk, backwards on the bus, in hexadecimal on the datastore, in base64 in the
    log, as Python shows it in the key server's database. The scan of a whole run must find all.
    """

    _TABLE = "CREATE TABLE IF NOT EXISTS leak (text TEXT) STRICT"

    @replaces(EsxiService, "add_keys")
    async def add_keys(original: Any, self: Any, message: Any, peer: Any) -> Any:
        secret = message.material.keys[0].reveal()
        await self.disk.write("leak.bin", secret)
        await self.disk.sync("leak.bin")
        await self.disk.sync_folder()
        await self.host.datastore.write("leak", "leak.txt", secret.hex().encode())
        self.node.record("leak", text=base64.b64encode(b"a" + secret).decode())
        self.bus._wire.send(event_subject(self.node.name, "Leak"), secret[::-1])
        return await original(self, message, peer)

    @replaces(BusEndpoint, "create_key")
    async def create_key(original: Any, self: Any, message: Any, peer: Any) -> Any:
        made = await original(self, message, peer)
        if made.material is not None:
            text = repr(made.material.keys[0].reveal())
            await self.core.database.transact(
                lambda connection: connection.execute("INSERT INTO leak VALUES (?)", (text,)) and 0
            )
        return made

    plant(opening, "SCHEMA", lambda schema: (*schema, _TABLE))


def keys_in_the_log() -> None:
    """A27 broken: a host writes the values of keys that arrive into its log."""

    @replaces(crypto_manager, "add_keys")
    async def add_keys(original: Any, host: Any, keys: Any, material: Any, kind: Any) -> Any:
        for secret in material.keys:
            host.node.record("keys.value", text=base64.b64encode(secret.reveal()).decode())
        return await original(host, keys, material, kind)


def secret_shown() -> None:
    """A27 broken: key material shows its bytes."""

    plant(
        KeyMaterial, "__repr__", lambda original: lambda self: f"KeyMaterial({self._bytes.hex()})"
    )


def vcenter_writes_values_down() -> None:
    """A09 broken: vCenter has a copy of each new key on its own disk, in hexadecimal."""

    _copies: list[str] = []

    @replaces(StandardProvider, "create_key")
    async def create_key(original: Any, self: Any, operation_id: str, *rest: Any) -> Any:
        made = await original(self, operation_id, *rest)
        _copies.append(made.material.reveal().hex())
        return made

    @replaces(VcenterService, "create_vm")
    async def create_vm(original: Any, self: Any, message: Any, peer: Any) -> Any:
        done = await original(self, message, peer)
        await self.disk.write("keys.txt", "\n".join(_copies).encode())
        return done
