"""Key providers as a host knows them: by management type, not by server.

- ``capabilities``  what a host does for each management type, one table, pure
- ``native``        key derivation keys, and keys derived from them
- ``trusted``       the client of Attestation and Key Provider Services
- ``key_creation``  a key that the host makes, by management type

``keys.search`` calls the flows of each type.
"""
