"""What the fork server does once so that no agent has to: imports, and set-up at first use.

Libraries load parts of themselves when they are first called; in a child each of these parts
would be a copy of its own. Nothing made here is kept: no file, no thread, and of connections one
pair of sockets that talk to each other and are closed again. Random generators of the libraries
notice a fork.
"""

from __future__ import annotations

import asyncio
import codecs
import gc
import os
import socket
import sqlite3
from collections.abc import Iterator

import msgspec
import nkeys
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nats.aio.client import Client

import lab.processes.agent  # noqa: F401 - an agent
from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import agent_name
from protocol.codec import VERSION, Envelope, decoder_of, encode_message
from protocol.crypto.derive import derive_key
from protocol.crypto.disk import DEK_SIZE, DiskCipher
from protocol.crypto.seal import Keyring, Sealing, without_keys
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.messages.base import Sealed, fields_with_keys, registry
from protocol.messages.host.crypto import AddKeys
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import EventType, MeasuredEvent, PcrSelection
from services.catalog import everything
from services.runtime.seeded import stream
from services.runtime.tpm.backends import missing_for_libtpms
from services.runtime.tpm.device import MemoryNv


def real_tpms() -> None:
    """Load what real TPMs need, for labs whose hosts have them, and use one of no host: the
    binding makes each of its many types at first use."""
    if missing_for_libtpms():
        return
    from services.runtime.tpm.libtpms import LibtpmsDevice

    pcrs, tpm = PcrSelection((7,)), LibtpmsDevice(MemoryNv())
    try:
        tpm.power_on()
        tpm.ensure_srk()
        tpm.extend_log([MeasuredEvent(pcrs.pcrs[0], EventType.SEPARATOR, bytes(4))])
        tpm.unseal(tpm.seal(bytes(32), policy_pcr_digest(pcrs, tpm.pcrs(pcrs))), pcrs)
        tpm.power_off(orderly=True)
    finally:
        tpm.close()


def set_up_copy(log: bytes) -> None:
    """In a copy of a process that has all loaded, and did without a collector: what it and its
    agents print goes to the file ``log``."""
    gc.enable()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)


def agents() -> None:
    """Load and warm what every agent uses, and every service."""
    everything()
    _keys()
    for message in registry().values():
        decoder_of(message)
        fields_with_keys(message)
    for struct in _structs(msgspec.Struct):
        _describe(struct)
    asyncio.run(_talk())
    sqlite3.connect(":memory:").close()
    codecs.lookup("utf-16-le")
    ControlClient("nats://127.0.0.1:1", "", agent_name(1))  # made, not opened
    Client()
    stream(0, "nobody").random()


def _structs(of: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Every struct of this project: messages, rows, sections of files, settings."""
    for struct in of.__subclasses__():
        if struct.__module__.split(".")[0] in ("protocol", "services", "lab"):
            yield struct
        yield from _structs(struct)


def _describe(struct: type[msgspec.Struct]) -> None:
    """Have msgspec work out the types of its fields, which it keeps with the class.

    A generic base has none of its own, and clear keys have no place in a file: those are left.
    """
    for decoder in (msgspec.msgpack.Decoder, msgspec.json.Decoder):
        try:
            decoder(struct)
        except TypeError:
            continue


async def _talk() -> None:
    """Run a loop with what every agent uses: a stream, a timer, a group of tasks."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    other_reader, other_writer = await asyncio.open_connection(sock=theirs)
    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        group.create_task(other_reader.readline())
        writer.write(b"\n")
        await writer.drain()
        await asyncio.sleep(0)
    for end in (writer, other_writer):
        end.close()
        await end.wait_closed()
    del reader


def _keys() -> None:
    """Every kind of cipher and signature that an agent uses."""
    me = NodeName("nobody")
    nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)).sign(b"")
    private = X25519PrivateKey.generate()
    ring = Keyring(private, {me: private.public_key()})
    key = KeyMaterial(os.urandom(32))
    message = AddKeys(keys=(), material=Sealed.of(key))
    boxed = without_keys(message)
    envelope = Envelope(VERSION, 1, "", me, 1, 0.0, "AddKeys", encode_message(boxed))
    seals = Sealing(me, 1, ring, lambda: 0.0)
    seals.unseal_keys(seals.seal_keys(envelope, message, me), boxed)
    unwrap(key, wrap(key, key, b"", os.urandom(NONCE_SIZE)), b"")
    derive_key(key, salt=b"", info=b"")
    disk = DiskCipher(KeyMaterial(os.urandom(DEK_SIZE)))
    disk.decrypt(0, disk.encrypt(0, bytes(16)))
