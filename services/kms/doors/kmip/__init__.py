"""The second door of a key server: KMIP 1.0 to 1.4 in TTLV, over TLS.

- ``door``      connections: bytes to messages, one after another, and who sends them
- ``messages``  one message: its header, its batch, its answer
- ``items``     of that each item, to a request and back
- ``room``      how much the answers to changes take, before they are done
- ``forms``     Gets that are like an earlier one, and their answers
- ``plain_keys``  the same of Creates
- ``credentials``  user name and password, where they are wanted
- ``handing``   messages that the server hands on to the one that takes changes
- ``spoken``    the table of operations: payloads to requests of the core and back
- ``keys``      of those Create, Register and Get
- ``querying``  of those what says what the server is
- ``values``    attributes, on the wire and in the core
- ``words``     names of what is a number on the wire
- ``reasons``   errors to Result Reasons

What the core is asked is the same as through the bus (``operations``), and so is what it answers.
"""
