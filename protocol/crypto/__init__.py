"""Cryptography as values in, values out. All primitives are those of the ``cryptography`` library.

- ``seal``      key material sealed to a node, bound to one message
- ``contexts``  the keys of these seals, carried by HPKE
- ``wrap``      AES-256-GCM key wrapping
- ``keywrap``   AES Key Wrap, without a nonce
- ``gcm``, ``blocks``  AES-GCM, AES-CBC and AES-ECB for data of a client
- ``stream``    AES-256-GCM parts of a migration
- ``disk``      XTS-AES-256 blocks
- ``derive``    HKDF
- ``native``    keys of a native provider
- ``provider_backup``  its PKCS#12 file; ``der`` counts the hash rounds that such a file asks for
- ``tokens``    signed documents of attestation, and their certificates
- ``certificates``    TLS certificates on P-256 keys
- ``ek_certificate``  certificates of TPM endorsement keys
- ``transfer``  secrets over a node's console, each to a one-time key
"""
