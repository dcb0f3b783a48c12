"""Core dumps: memory of the host's agent, or of a VM's process (DUMP-01 to DUMP-04).

A dump is one file on the host's disk. Its data is encrypted under its own key (AES-256-GCM), which
is wrapped under the host key; both are bound to host, dump and use. The id of the host key is
beside them in clear. Without that key in memory nothing on the host can read the dump. After a
reboot the key is in memory when persistence has kept it, vCenter has sent it again, or the host
derives it. A host without a host key in memory (one that is not safe) dumps in clear. The process
of an encrypted VM is dumped under the VM's key instead.

A change of the host key rewraps the dumps of the old one, if the old one is in memory (C27). That
is done before the change is saved, so a crash in between leaves them under the newer key; the node
that changes the key has it, and sends it again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol import names
from protocol.crypto.derive import check_value
from protocol.crypto.wrap import KEK_SIZE, NONCE_SIZE, unwrap, wrap
from protocol.errors import (
    CryptographicFailure,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ResourceInUse,
)
from protocol.messages.host.crypto import DUMPS_LIMIT, MARKER_LIMIT, Dump, WriteDump
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, VmName
from services.esxi.host import EsxiHost
from services.esxi.providers import native
from services.runtime.durable import replace_durably

FOLDER: Final = "core"
_SUFFIX: Final = ".zdump"


class DumpFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Contents of a dump's file. ``wrapped`` is the dump's own key under ``key``; without a key
    ``data`` is in clear. An unknown field is damage: it may have replaced a known one."""

    dump: str
    boot: int
    at: float
    data: bytes
    key: CryptoKeyId | None = None
    wrapped: bytes = b""


_decode = msgspec.msgpack.Decoder(DumpFile).decode


async def write_dump(host: EsxiHost, message: WriteDump) -> Dump:
    """Write a dump, durably. When the name is taken, return the existing one. See ``WriteDump``."""
    dump, marker, vm = message.dump, message.marker, message.vm
    names.DUMP.check(dump)
    if len(marker) > MARKER_LIMIT:
        raise InvalidArgument(f"marker: at most {MARKER_LIMIT} bytes")
    there = await host.disk.list(FOLDER)
    if _dump_path(dump) in there:
        return _summarize(host, await _read_dump(host, dump))
    if sum(name.endswith(_SUFFIX) for name in there) >= DUMPS_LIMIT:
        raise ResourceInUse(f"{host.node.name} has {DUMPS_LIMIT} dumps: remove one first")
    if vm is None:
        made = _build_dump(host, dump, _agent_memory(host, marker), _current_host_key(host))
    else:
        made = _build_dump(host, dump, _process_memory(host, vm, marker), _vm_key(host, vm))
    await _store_dump(host, made)
    key, path = None if made.key is None else str(made.key), f"{FOLDER}/{_dump_path(dump)}"
    host.node.record("dump.written", dump=dump, key=key, file=path)
    if made.key is not None:
        host.problems.record_dump(path, made.key, vm)
    return _summarize(host, made)


async def list_dumps(host: EsxiHost) -> tuple[Dump, ...]:
    """Every dump by name, damaged ones marked."""
    found: list[Dump] = []
    for file in await host.disk.list(FOLDER):
        if file.endswith(_SUFFIX):
            dump = file.removesuffix(_SUFFIX)
            try:
                found.append(_summarize(host, await _read_dump(host, dump)))
            except NotFound:
                continue  # it was removed meanwhile
            except InvalidState as damage:
                found.append(Dump(dump=dump, problem=str(damage)))
    return tuple(found)


async def decrypt_dump(host: EsxiHost, dump: str) -> tuple[Dump, bytes]:
    """The dump and its content; see ``DecryptDump``."""
    names.DUMP.check(dump)
    found = await _read_dump(host, dump)
    if found.key is None:
        return _summarize(host, found), found.data
    key = _find_key(host, found.key)
    if key is None:
        raise EncryptionKeyRequired(
            f"{dump}: the key that it is under is not in the memory of {host.node.name}",
            (found.key,),
        )
    try:
        own = unwrap(key, found.wrapped, _aad(host.node.name, dump, "key"))
        content = unwrap(own, found.data, _aad(host.node.name, dump, "data")).reveal()
    except CryptographicFailure:
        raise InvalidState(f"{dump} is damaged, or its key is another one") from None
    return _summarize(host, found), content


async def remove_dump(host: EsxiHost, dump: str) -> None:
    """Remove a dump, durably."""
    names.DUMP.check(dump)
    if _dump_path(dump) not in await host.disk.list(FOLDER):
        return
    await host.disk.remove(f"{FOLDER}/{_dump_path(dump)}")
    await host.disk.sync_folder(FOLDER)
    host.node.record("dump.removed", dump=dump)


async def rewrap_dumps(
    host: EsxiHost, old: CryptoKeyId, new: CryptoKeyId, clear: KeyMaterial
) -> None:
    """Rewrap the keys of dumps under ``old`` with ``new`` (C27).

    A dump that cannot be rewrapped is recorded and does not stop the change.
    """
    try:
        there = await list_dumps(host)
    except OSError as refused:
        there = ()
        host.node.record("dump.left", level="warning", dump="", reason=_describe_refusal(refused))
    key = _find_key(host, old)
    why_not = "the old host key is not in memory" if key is None else ""
    if not host.node.knobs.rewrap_dumps:
        key, why_not = None, "dumps are not taken along here (rewrap_dumps)"
    for dump in [found.dump for found in there if found.key == old]:
        why = why_not
        if key is not None:
            why = await _rewrap_dump(host, dump, key, new, clear)
        if why:
            host.node.record("dump.left", level="warning", dump=dump, reason=why)
        else:
            host.node.record("dump.rewrapped", dump=dump, key=str(new))


def _current_host_key(host: EsxiHost) -> tuple[CryptoKeyId, KeyMaterial] | None:
    """The host key in memory; None on a host that is not safe."""
    key = host.archive.now.host_key
    return None if key is None or host.host_key is None else (key, host.host_key)


def _vm_key(host: EsxiHost, vm: VmName) -> tuple[CryptoKeyId, KeyMaterial] | None:
    """The key of a running VM's home; None when it is not encrypted."""
    config = host.require_vm(vm).config
    if config is None or not config.keys:
        return None
    key = config.keys[0]
    if (value := host.keys.get(key)) is None:
        raise EncryptionKeyRequired(f"{vm}: its key is not in the memory of this host", (key,))
    return key, value


def _build_dump(
    host: EsxiHost, dump: str, content: bytes, under: tuple[CryptoKeyId, KeyMaterial] | None
) -> DumpFile:
    clear = DumpFile(dump=dump, boot=host.node.boot, at=host.clock.now(), data=content)
    if under is None:
        return clear
    key, value = under
    own = KeyMaterial(host.rng.token(KEK_SIZE))
    name = host.node.name
    return msgspec.structs.replace(
        clear,
        key=key,
        wrapped=wrap(value, own, _aad(name, dump, "key"), host.rng.token(NONCE_SIZE)),
        data=wrap(own, KeyMaterial(content), _aad(name, dump, "data"), host.rng.token(NONCE_SIZE)),
    )


async def _rewrap_dump(
    host: EsxiHost, dump: str, old: KeyMaterial, new: CryptoKeyId, clear: KeyMaterial
) -> str:
    """Why the key of the dump could not be rewrapped; empty when it was."""
    aad = _aad(host.node.name, dump, "key")
    try:
        found = await _read_dump(host, dump)
        wrapped = wrap(clear, unwrap(old, found.wrapped, aad), aad, host.rng.token(NONCE_SIZE))
        await _store_dump(host, msgspec.structs.replace(found, key=new, wrapped=wrapped))
    except (InvalidState, NotFound, CryptographicFailure) as damage:
        return str(damage)
    except OSError as refused:
        return _describe_refusal(refused)
    return ""


def _describe_refusal(error: OSError) -> str:
    return f"the disk refused: {error.strerror or error}"


def _agent_memory(host: EsxiHost, marker: bytes) -> bytes:
    """The memory of the agent as text: what it knows of VMs, never a key (DUMP-04)."""
    lines = [f"hostd of {host.node.name}, boot {host.node.boot}, {host.mode.value}"]
    lines += [f"{name} {host.vms[name].power.value}" for name in sorted(host.vms)]
    return "\n".join([*lines, ""]).encode() + marker


def _process_memory(host: EsxiHost, vm: VmName, marker: bytes) -> bytes:
    """The memory of a running VM's process as text, never a key (DUMP-04)."""
    if host.require_vm(vm).guest is None:
        raise InvalidPowerState(f"{vm} does not run on {host.node.name}: it has no process")
    return f"vmx of {vm} on {host.node.name}, boot {host.node.boot}\n".encode() + marker


def _find_key(host: EsxiHost, key: CryptoKeyId) -> KeyMaterial | None:
    """A key by id: the host key in force, a cached key, or a key that this host derives. Nothing is
    added to the cache."""
    if key == host.archive.now.host_key and host.host_key is not None:
        return host.host_key
    cached = host.keys.get(key)
    return cached if cached is not None or key in host.disproved else _derive_current_key(host, key)


def _derive_current_key(host: EsxiHost, key: CryptoKeyId) -> KeyMaterial | None:
    """A key that this host derives, but not a host key whose KDK has changed since."""
    value, now = native.derive_key(host, key), host.archive.now
    if value is None or key != now.host_key or check_value(value) == now.host_key_check:
        return value
    return None


def _summarize(host: EsxiHost, found: DumpFile) -> Dump:
    readable = found.key is None or _find_key(host, found.key) is not None
    return Dump(dump=found.dump, boot=found.boot, at=found.at, key=found.key, readable=readable)


async def _read_dump(host: EsxiHost, dump: str) -> DumpFile:
    """``NotFound`` when the dump does not exist, ``InvalidState`` when it is damaged."""
    try:
        raw = await host.disk.read(f"{FOLDER}/{_dump_path(dump)}")
    except FileNotFoundError:
        raise NotFound(f"{host.node.name} has no dump {dump}") from None
    try:
        found = _decode(raw)
    except (msgspec.DecodeError, ValueError):
        raise InvalidState(f"{dump} is damaged") from None
    if (found.key is None) is not (found.wrapped == b""):
        raise InvalidState(f"{dump} is damaged")
    if found.dump != dump:
        raise InvalidState(f"{dump} is damaged: its header names {found.dump}")
    return found


async def _store_dump(host: EsxiHost, made: DumpFile) -> None:
    data = msgspec.msgpack.encode(made)
    await replace_durably(host.disk, f"{FOLDER}/{_dump_path(made.dump)}", data, folder_is_new=True)


def _dump_path(dump: str) -> str:
    return f"{dump}{_SUFFIX}"


def _aad(host: NodeName, dump: str, use: str) -> bytes:
    """Binds a dump to its host and name, and its key and data to their use in it."""
    return f"keystead dump|{host}|{dump}|{use}".encode()
