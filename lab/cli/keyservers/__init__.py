"""``keystead kmip``: KMIP without a lab.

- ``kmip``    a key server, its keys and its trail, played conversations
- ``replay``  vCenter's flow against any key server
"""
