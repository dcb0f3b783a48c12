"""KMIP 1.0 to 1.4: messages as bytes, as trees and as typed structs. No transport, no policy.

- ``message``     whole messages
- ``payloads``    what each operation asks and answers - ``header``  headers and credentials
- ``objects``     managed objects, their key blocks and attributes, and the structures that these
  and headers are made of (KMIP 1.4 sections 2, 3 and 6)
- ``fields``      what a class says of its bytes
- ``compiler``    functions made of that
- ``parts``       what compiled functions call
- ``ttlv``        bytes to trees and back, of whatever is well formed
- ``tags``        tags
- ``enums``       enumerations of messages, attributes and objects, KMIP 1.0 to 1.4 (KMIP 1.4
  section 9.1.3); what all enumerations have in common (a number on the wire, and a name in XML);
  and the one error of everything that reads or writes KMIP
- ``algorithms``  those of cryptography
- ``dialect``     what vCenter says, and takes from answers
- ``cases``       conversations in KMIP's XML, as OASIS publishes them

Left out: versions from 2.0 on, whose attributes are no name and value, and the operations that no
symmetric key needs; their payloads are trees (``fields.Unread``).
"""
