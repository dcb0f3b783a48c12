"""Endpoints of a key server; each proves the caller and turns messages into requests.

- ``bus``                requests on the data bus, and from the server's own console
- ``bus_attributes``     of these, attributes, registered keys, and ciphers
- ``forwarding``         of these, changes that go to the active server of a group
- ``kmip/``              the KMIP protocol
- ``admission``          the clients of KMIP          - ``identities``  their administration
- ``server_certificate``  the certificate that KMIP clients see
- ``rejections``         administration of refusals
- ``custody``            administration of KEKs, root and audit trail
- ``replication``        the other servers of a pair or a group
"""
