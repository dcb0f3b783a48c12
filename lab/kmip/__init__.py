"""KMIP without a lab.

- ``alone``    a key server over the real drivers of its ports, in this process
- ``serving``  one in the foreground, that clients reach over TLS; ``certificates`` of it
- ``keeping``  what seals the keys of one
- ``offline``  one that does not run: ``resealing``, another root; ``trails``, of which old rows go
  into a file; ``trail_file`` proves itself
- ``cases``    conversations in KMIP's XML, played against a fresh one through bytes
- ``compared`` an answer beside the one that a conversation expects
- ``replay``   vCenter's flow against any key server, step by step, and a verdict on it
- ``addresses``  addresses and passwords that a person gives to reach a key server
- ``standalone`` connections of who is no node of a lab
"""
