"""KMIP 1.0 to 1.4: messages as bytes, as trees and as typed structs. No transport, no policy.

- ``message``    whole messages to bytes and back: the way in
- ``payloads``   what each operation asks and answers - ``header``  headers and credentials
- ``attributes`` attributes by name                   - ``objects`` managed objects
- ``structures`` what those are made of
- ``fields``     what a class says of its bytes       - ``compiler`` functions made of that
- ``parts``      what compiled functions call
- ``ttlv``       bytes to trees and back, of whatever is well formed
- ``tags``       tags                                 - ``code``    what enumerations have in common
- ``enums``      enumerations                         - ``algorithms`` those of cryptography
- ``dialect``    what vCenter says, and takes from answers
- ``cases``      conversations in KMIP's XML, as OASIS publishes them
- ``errors``     ``KmipError``, the only one that bytes lead to

Left out: versions from 2.0 on, whose attributes are no name and value, and the operations that no
symmetric key needs; their payloads are trees (``fields.Unread``).
"""
