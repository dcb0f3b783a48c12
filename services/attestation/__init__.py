"""The Attestation Service of a Trust Authority host: it verifies what hosts booted.

- ``service``            the Attestation Service's handlers, who may send what, and the flow of an
  attestation (ATT-01)
- ``config``, ``knobs``  its settings
- ``documents``          what a host holds of its attestation
- ``identities``         endorsement keys and their chains, pure
- ``policy``             findings from evidence, pure
- ``configuration``      the configuration of an Attestation Service

The service keeps no state of an unfinished attestation. A TPM's counters are durable before tokens
are issued, so that no restart forgets them.

Kinds of records: ``attestation.configured`` revision · ``attestation.warning`` text ·
``attestation.passed`` host, image · ``attestation.failed`` host, findings
"""
