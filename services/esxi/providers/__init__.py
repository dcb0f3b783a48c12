"""Key providers as a host knows them: by management type, not by server.

- ``capabilities``  what a host does for each management type, one table, pure
- ``native``        key derivation keys, and keys derived of them

A management type that gets built adds its flow here as a file of its own: the client of
attestation and Key Provider Service for ``trustAuthority``. ``keys.search`` is where such a flow is
called.
"""
