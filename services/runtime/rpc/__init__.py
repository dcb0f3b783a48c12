"""The request multiplexer of the data bus and of the control plane.

- ``envelopes``  numbers, sizes, encoding of messages into bodies and back
- ``pending``    calls in flight: who must answer which, until when; a lost connection ends them
- ``serving``    received requests: checked, decoded, answered once

It knows no subjects, no broker and no clock. Its two users provide these: the subject of a request,
whether a message may be sent (link rules, a connection that is being dialled), the seconds of
limits, and what is sealed.
"""
