"""Key providers as a host knows them: by management type, not by server.

- ``capabilities``  what a host does for each management type of key provider, one table, and the
  order in which it looks for a missing key
- ``native``        key derivation keys, and keys derived from them
- ``trusted``       the client of Attestation and Key Provider Services

``keys.search`` calls the flows of each type.
"""
