"""Cryptography as values in, values out. All primitives are those of the ``cryptography`` library.

- ``seal``             sealing key material to the node that receives it, bound to one message
- ``wrap``             wrapping a key under a key
- ``block_ciphers``    block ciphers for data of a client
- ``stream``           AES-256-GCM parts of a migration
- ``disk``             XTS-AES-256 blocks
- ``derive``           keys derived from other secrets with HKDF-SHA-256 (RFC 5869), one purpose
  per ``info``, and keys of a native provider, derived from its key derivation key (NKP-11, NKP-14)
- ``provider_backup``  its PKCS#12 file; ``der`` counts the hash rounds that such a file asks for
- ``tokens``           signed documents of attestation, and their certificates
- ``certificates``     TLS certificates on P-256 keys
- ``ek_certificate``   certificates of TPM endorsement keys
- ``transfer``         secrets over a node's console, each to a one-time key
"""
