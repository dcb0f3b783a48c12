"""Linearizability of key servers: does an order of what clients did explain what they saw?

- ``acts``     what clients recorded: operations with their begin, end and outcome, and when servers
  were apart; read from a history
- ``clients``  asks key servers, and records it
- ``keys``, ``names``, ``keks``  what one server promises: of a key, of a Name, of its KEK
- ``search``   the search for an order (Wing and Gong, with Lowe's memory of what was tried)
- ``judge``    parts, model of each mode, shortest history that cannot be explained, in words

Nothing here looks into a server, and nothing is shared with what servers decide by.
"""
