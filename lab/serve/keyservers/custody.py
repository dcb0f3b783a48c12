"""What seals the keys of key servers, as their administrator has it changed."""

from __future__ import annotations

from lab.schema import commands
from lab.schema.answers import KeyServer
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.look import key_server
from lab.serve.session import LabSession
from protocol.crypto.transfer import seal_secret
from protocol.errors import InvalidArgument, InvalidState
from protocol.messages.kms import ChangeRoot, OpenRootTransfer, QueryCustody, RotateKek
from protocol.secret import KeyMaterial
from protocol.terms import RootKind


@executes
async def rotate(session: LabSession, command: commands.KmsRotateKek) -> KeyServer:
    """See ``KmsRotateKek``."""
    server = session.key_server(command.kms)
    now = await session.ask(server, QueryCustody())
    await session.ask(server, RotateKek(after=now.kek))
    return await key_server(session, server)


@executes
async def set_root(session: LabSession, command: commands.KmsSetRoot) -> KeyServer:
    """See ``KmsSetRoot``."""
    server, box = session.key_server(command.kms), b""
    if command.root is RootKind.PASSPHRASE:
        passphrase = KeyMaterial(session.files.secret(command.passphrase_file).encode())
        public = (await session.ask(server, OpenRootTransfer())).public_key
        box = seal_secret(public, passphrase, "passphrase")
    try:
        await session.ask(server, ChangeRoot(root=command.root, passphrase=box))
    except InvalidArgument as error:
        text = f"{command.passphrase_file}: {error}"
        raise KeysteadError("KS-USE-003", text, "put another one into its first line") from None
    except InvalidState as error:
        fix = f"keystead get kms {server} -o wide says which it has"
        raise KeysteadError("KS-PRODUCT-001", f"{server}: {error}", fix) from None
    return await key_server(session, server)
