"""TPM 2.0 as pure data and pure functions: nothing here talks to a device.

Map:

- ``errors``: ``TpmError`` (return code, name, kind) and the decoding of return codes.
- ``structures``: the values that cross the Tpm port (selection, blob, quote, event, info).
- ``wire``: the big-endian packing of TPM 2.0 structures, reader and writer.
- ``public``: public areas: parse, name, public key, rules for an attestation key.
- ``secure_boot``: what firmware measures of it, into PCR 7.
- ``policy``: the digest of a PCR policy, computed without a TPM.
- ``event_log``: the TCG2 crypto-agile event log: build, parse, replay, check bodies.
- ``quote``: checking a quote: signature, nonce, selection, PCR digest, counters.
- ``credential``: make a credential that only one TPM can activate.
"""
