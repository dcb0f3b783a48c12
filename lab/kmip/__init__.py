"""A key server without a lab, for whoever speaks KMIP.

- ``alone``    a key server over the real drivers of its ports, in this process
- ``cases``    conversations in KMIP's XML, played against a fresh one through bytes
- ``compared`` an answer beside the one that a conversation expects
"""
