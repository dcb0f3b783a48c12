"""TPM 2.0 as pure data and pure functions: nothing here talks to a device.

Map:

- ``errors``      : ``TpmError`` (return code, name, kind) and the decoding of return codes.
- ``structures``  values that cross the Tpm port, frozen and without behaviour that needs a TPM,
  and the packing of TPM 2.0 structures
- ``public``      : public areas: parse, name, public key, rules for an attestation key.
- ``event_log``   the crypto-agile event log of the TCG PC Client firmware profile (build, parse,
  replay, check), and what firmware measures of Secure Boot
- ``quote``       checking a quote in pure Python
- ``credential``  : make a credential that only one TPM can activate.
"""
