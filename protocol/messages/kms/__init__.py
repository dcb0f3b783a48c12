"""What a key server serves, named as in KMIP 1.4; many keys share one message.

- ``keys``            what a key server serves, named as in KMIP 1.4; many keys share one message
- ``administration``  messages of an administrator at a key server's own console
- ``replication``     messages between key servers that replicate
"""

from __future__ import annotations

from protocol.messages.kms import administration, keys, replication

__all__ = ["administration", "keys", "replication"]
