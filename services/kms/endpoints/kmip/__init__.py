"""KMIP 1.0 to 1.4 in TTLV, over TLS.

- ``connections``   bytes to messages, one after another, and their caller
- ``messages``      one message: its header, its batch, its answer
- ``items``         one item, to a request and back
- ``forms``         Gets that equal an earlier one, and their answers
- ``forwarding``    messages for the active server of a group
- ``operations``    the table of operations: payloads to requests of the core and back
- ``keys``          of these, Create, Register and Get
- ``values``        attributes, on the wire and in the core
- ``enumerations``  names of enumerated values
- ``reasons``       errors to Result Reasons

The core receives the same requests as through the bus, and gives the same answers.
"""
