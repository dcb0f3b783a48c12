"""Secrets that people keep in a file of their own and name: the first line is the secret."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lab.errors import KeysteadError
from protocol.terms import NodeName
from services.kms.roots.passphrase import PASSPHRASE_OPTION

LARGEST = 1 << 20  # bytes of a file that is read


def secret_in(path: str) -> str:
    """The first line of a file; KS-USE-003 when it cannot be read, is no text, or is empty."""
    try:
        secret = read_file(path).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise KeysteadError("KS-USE-003", f"{path}: it is no UTF-8 text") from None
    if not secret:
        raise KeysteadError("KS-USE-003", f"{path}: its first line, the password, is empty")
    return secret


def typed_at(node: NodeName, passphrases: Iterable[tuple[NodeName, str]]) -> dict[str, str]:
    """What the lab file has typed at each start of this node: boot options."""
    file = dict(passphrases).get(node)
    return {} if file is None else {PASSPHRASE_OPTION: secret_in(file)}


def read_file(path: str) -> bytes:
    """A file that somebody named; KS-USE-003 when it cannot be read, or has too many bytes."""
    try:
        with Path(path).open("rb") as file:
            found = file.read(LARGEST + 1)
    except OSError as error:
        raise unusable(path, error) from None
    if len(found) > LARGEST:
        raise KeysteadError("KS-USE-003", f"{path}: it has more than {LARGEST} bytes")
    return found


def unusable(path: str, error: OSError) -> KeysteadError:
    """What people are told of a file that they named."""
    return KeysteadError("KS-USE-003", f"{path}: {error.strerror or error}")
