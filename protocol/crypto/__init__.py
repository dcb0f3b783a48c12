"""Cryptography as values in, values out; all primitives are the ``cryptography`` library's.

- ``seal``   to a node's key, bound to one message   - ``contexts``  the keys for that, by HPKE
- ``wrap``  AES-256-GCM key wrapping                 - ``gcm``  AES-GCM for data of a client
- ``blocks``  AES-CBC and AES-ECB for it             - ``keywrap``  AES key wrapping without a nonce
- ``stream``  AES-256-GCM parts of a migration
- ``disk``   XTS-AES-256 blocks                           - ``derive``  HKDF
- ``native`` keys of a native provider                    - ``provider_backup`` its PKCS#12 file
- ``der``    counts of iterations in such a file
- ``tokens``   signed documents of attestation, and their certificates
- ``certificates``  of TLS, on keys of P-256
- ``ek_certificate`` certificates of TPM endorsement keys
- ``transfer`` secrets over a node's console, each to a key that serves once
"""
