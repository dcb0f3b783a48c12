"""The Attestation Service of a Trust Authority host: it verifies what hosts booted.

- ``service``   one handler for each message
- ``config``, ``knobs``  its settings
- ``access``    who may send what, pure
- ``challenge``  contexts of attestations
- ``identities``  endorsement keys and their chains, pure
- ``policy``    findings from evidence, pure
- ``documents``  the documents of an attested host
- ``check``     checks of a configuration, pure
- ``store``     configuration, and the counters of each TPM, durable

The service keeps no state of an unfinished attestation. A TPM's counters are durable before tokens
are issued, so that no restart forgets them.

Kinds of records: ``attestation.configured`` revision · ``attestation.warning`` text ·
``attestation.passed`` host, image · ``attestation.failed`` host, findings
"""
