"""Cryptography as values in, values out; all primitives are the ``cryptography`` library's.

- ``seal``   HPKE to a node's key, bound to one message   - ``wrap``  AES-256-GCM key wrapping
- ``disk``   XTS-AES-256 blocks                           - ``derive``  HKDF
"""
