"""The Attestation Service of a Trust Authority host: which hosts booted what they should.

- ``service``   one handler for each message          - ``config``, ``knobs``  its settings
- ``access``    who may send what, pure               - ``challenge``  contexts of attestations
- ``identities``  endorsement keys and their chains, pure
- ``policy``    findings out of evidence, pure        - ``documents``  what an attested host gets
- ``check``     whether a configuration makes sense, pure
- ``store``     configuration, and the counters of each TPM, durable

Nothing is kept of an attestation that was only begun. What an attestation has shown of a TPM's
counters is durable before its tokens are issued, so no restart makes it forget one.

Kinds of records: ``attestation.configured`` revision · ``attestation.warning`` text ·
``attestation.passed`` host, image · ``attestation.failed`` host, findings
"""
