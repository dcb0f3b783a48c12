"""What the fork server does once so that no agent has to: imports, and set-up at first use.

Libraries load parts of themselves when they are first called; in a child each of these parts
would be a copy of its own. Nothing made here is kept, and nothing here opens a file, a
connection or a thread. Random generators of the libraries notice a fork.
"""

from __future__ import annotations

import gc
import os
import sqlite3

import nkeys
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import lab.processes.agent  # noqa: F401 - an agent, and with it every service
from protocol.codec import decoder_of
from protocol.crypto.derive import derive_key
from protocol.crypto.disk import DEK_SIZE, decrypt_block, encrypt_block
from protocol.crypto.seal import Keyring, open_message, seal_message
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.messages.base import Sealed, registry
from protocol.messages.host import AddKeys
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.runtime.tpm.backends import available


def preload(*, tpm: bool) -> None:
    """Load and warm; then take all that is here out of the collector's hands.

    The collector writes into each object that it looks at, and a page that was written to is no
    longer shared with the children.
    """
    if tpm:
        available()
    _keys()
    for message in registry().values():
        decoder_of(message)
    sqlite3.connect(":memory:").close()
    gc.collect()
    gc.freeze()


def _keys() -> None:
    """Every kind of cipher and signature that an agent uses."""
    me = NodeName("nobody")
    nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)).sign(b"")
    private = X25519PrivateKey.generate()
    ring = Keyring(private, {me: private.public_key()})
    key = KeyMaterial(os.urandom(32))
    sealed = seal_message(AddKeys(keys=(), material=Sealed.of(key)), ring, me, b"")
    open_message(sealed, ring, b"")
    unwrap(key, wrap(key, key, b"", os.urandom(NONCE_SIZE)), b"")
    derive_key(key, salt=b"", info=b"")
    dek = KeyMaterial(os.urandom(DEK_SIZE))
    decrypt_block(dek, 0, encrypt_block(dek, 0, bytes(16)))
