"""A27 broken on purpose: one key is put in clear into every kind of place, each in another form.

Raw on the host's disk, backwards on the bus, in hexadecimal on the datastore, in base64 in the
log, as Python shows it in the key server's database. The scan of a whole run must find all.
"""

from __future__ import annotations

import base64
from typing import Any

from protocol.subjects import event_subject
from services.esxi.service import EsxiService
from services.kms import store
from services.kms.doors.bus import BusDoor
from tests.mutations.bugs.planting import plant

_TABLE = "CREATE TABLE IF NOT EXISTS leak (text TEXT) STRICT"


def _host(original: Any) -> Any:
    async def add_keys(self: Any, message: Any, peer: Any) -> Any:
        secret = message.material.keys[0].reveal()
        await self.disk.write("leak.bin", secret)
        await self.disk.sync("leak.bin")
        await self.disk.sync_folder()
        await self.host.datastore.write("leak", "leak.txt", secret.hex().encode())
        self.node.record("leak", text=base64.b64encode(b"a" + secret).decode())
        self.bus._wire.send(event_subject(self.node.name, "Leak"), secret[::-1])
        return await original(self, message, peer)

    return add_keys


def _server(original: Any) -> Any:
    async def create_key(self: Any, message: Any, peer: Any) -> Any:
        made = await original(self, message, peer)
        if made.material is not None:
            text = repr(made.material.keys[0].reveal())
            await self.core._database.transact(
                lambda connection: connection.execute("INSERT INTO leak VALUES (?)", (text,)) and 0
            )
        return made

    return create_key


plant(EsxiService, "add_keys", _host)
plant(BusDoor, "create_key", _server)
plant(store, "SCHEMA", lambda schema: (*schema, _TABLE))
