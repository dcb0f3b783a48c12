"""What a host's own administrator does there with its keys and dumps: vCenter is not told."""

from __future__ import annotations

from lab.schema import commands
from lab.schema.answers import (
    Dump,
    DumpContent,
    DumpList,
    HostView,
    RemovedKey,
    RemovedKeyList,
)
from lab.schema.errors import KeysteadError
from lab.serve.crypto import key_id
from lab.serve.executing import executes
from lab.serve.look import host_own_view
from lab.serve.session import LabSession
from lab.serve.views import key_ref, view
from protocol.messages.host import (
    DecryptDump,
    GetCryptoKeyStatus,
    ListDumps,
    QueryHost,
    RemoveDump,
    RemoveKeys,
    RemoveProvider,
    WriteDump,
)
from protocol.messages.host import Dump as DumpOnHost
from protocol.printable import quote_if_needed
from protocol.terms import NodeName, ProviderId, VmName


@executes
async def remove_keys(session: LabSession, command: commands.HostRemoveKeys) -> RemovedKeyList:
    """See ``HostRemoveKeys``."""
    host = session.host(command.host)
    keys = tuple(key_id(key) for key in command.keys)
    results = (await session.ask(host, RemoveKeys(keys=keys))).results
    left = (await session.ask(host, GetCryptoKeyStatus(keys=keys))).keys
    return RemovedKeyList(
        host=host,
        items=tuple(
            RemovedKey(
                key=key_ref(result.key),
                removed=result.success,
                reason=result.reason,
                stored=status.stored,
            )
            for result, status in zip(results, left, strict=True)
        ),
    )


@executes
async def remove_provider(session: LabSession, command: commands.HostRemoveProvider) -> HostView:
    """See ``HostRemoveProvider``."""
    host = session.host(command.host)
    listed = (await session.ask(host, QueryHost(vms=False))).summary.providers
    names = [ref.provider_id for ref in listed]
    if command.provider not in names:
        there = ", ".join(sorted(names)) or "none"
        text = f"{host} has no key provider {quote_if_needed(command.provider)}; it has {there}"
        raise KeysteadError("KS-USE-002", text, "name one of these: what is not there cannot leave")
    await session.ask(host, RemoveProvider(provider=ProviderId(command.provider)))
    return await host_own_view(session, commands.GetHostView(host))


# ---- core dumps --------------------------------------------------------------------------


@executes
async def write_dump(session: LabSession, command: commands.HostDumpWrite) -> Dump:
    """See ``HostDumpWrite``."""
    host = session.host(command.host)
    vm = VmName(command.vm) if command.vm else None
    dump = command.dump or _next_name(await _list_dumps(session, host), _PROCESS if vm else _NAMED)
    done = await session.ask(host, WriteDump(dump=dump, marker=command.marker, vm=vm))
    return _view(host, done.dump)


def _next_name(there: tuple[DumpOnHost, ...], of: str) -> str:
    """``of.NNN`` with the first number above those that are there."""
    named = [each.dump.rpartition(".") for each in there]
    last = [int(number) for head, _, number in named if head == of and number.isdecimal()]
    return f"{of}.{max(last, default=-1) + 1:03d}"


_NAMED, _PROCESS = "hostd-zdump", "vmx-zdump"


@executes
async def dumps(session: LabSession, command: commands.HostDumpList) -> DumpList:
    """See ``HostDumpList``."""
    host = session.host(command.host)
    return DumpList(items=tuple(_view(host, dump) for dump in await _list_dumps(session, host)))


async def _list_dumps(session: LabSession, host: NodeName) -> tuple[DumpOnHost, ...]:
    return (await session.ask(host, ListDumps())).dumps


@executes
async def decrypt_dump(session: LabSession, command: commands.HostDumpDecrypt) -> DumpContent:
    """See ``HostDumpDecrypt``."""
    host = session.host(command.host)
    read = await session.ask(host, DecryptDump(dump=command.dump))
    return DumpContent(
        host=host,
        dump=read.dump.dump,
        key=key_ref(read.dump.key) if read.dump.key else None,
        content=read.content,
    )


@executes
async def remove_dump(session: LabSession, command: commands.HostDumpRemove) -> DumpList:
    """See ``HostDumpRemove``; KS-USE-002 when there is no such dump."""
    host = session.host(command.host)
    if command.dump not in [dump.dump for dump in await _list_dumps(session, host)]:
        raise KeysteadError("KS-USE-002", f"{host} has no dump {command.dump}")
    await session.ask(host, RemoveDump(dump=command.dump))
    return await dumps(session, commands.HostDumpList(host))


def _view(host: NodeName, dump: DumpOnHost) -> Dump:
    return view(Dump, dump, host=host)
