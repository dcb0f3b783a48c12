"""KMIP 1.0 to 1.4 in TTLV, over TLS.

- ``connections``    bytes to messages, one after another, and who sends them
- ``messages``       one message: its header, its batch, its answer
- ``items``          one item, to a request and back
- ``forms``          Gets that are like an earlier one, and their answers
- ``forwarding``     messages that go to the active server of a group
- ``operations``     the table of operations: payloads to requests of the core and back
- ``keys``           of these, Create, Register and Get
- ``values``         attributes, on the wire and in the core
- ``enumerations``   names of enumerated values
- ``reasons``        errors to Result Reasons

The core receives the same requests as through the bus, and gives the same answers.
"""
