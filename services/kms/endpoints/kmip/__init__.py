"""KMIP 1.0 to 1.4 in TTLV, over TLS.

- ``connections``  bytes to messages, one after another, and their caller
- ``messages``     one message: its header, its batch, its answer
- ``items``        one item of a KMIP message to a request of the core, and its outcome back to an
  item, with a Result Reason for each error of the core (KMIP 1.4 section 9.1.3.2.29); and which
  messages are refused as a whole
- ``forms``        Gets that equal an earlier one, and their answers
- ``operations``   the table of operations: payloads to requests of the core and back
- ``keys``         of these, Create, Register and Get
- ``values``       attributes and enumerated values on the wire and in the core (KMIP 1.4 sections
  3 and 9.1.3)

The core receives the same requests as through the bus, and gives the same answers.
"""
