"""The one multiplexer of requests, on which the data bus and the control plane both stand.

- ``envelopes``  what surrounds messages: numbers, sizes, how a message becomes a body and back
- ``pending``    calls in flight: who must answer which, until when; a lost connection ends them
- ``serving``    requests that came: checked, decoded, answered once

It knows no subjects, no broker and no clock of its own. Who stands on it brings those: which
subject a request goes to, whether a message may leave (rules of links, a connection that is
being dialled), in which seconds limits are, and what is sealed.
"""
