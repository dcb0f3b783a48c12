"""vCenter's flow against any key server, without a lab (``keystead kmip replay``).

- ``running``       from addresses and credentials to a report
- ``playing``       the phases of one replay, in their order
- ``trust``         who trusts whom; ``handshake`` is one connection for it
- ``flow``          keys made, tagged, used and fetched again, as vCenter does it
- ``failover``      the servers of one provider among each other
- ``servers``       the servers, and who asks them; ``strangers``: who should get nothing
- ``journal``       what is written down meanwhile; ``reporting`` makes a report of it
- ``exchanges``     what an answer shows beyond whether it went well
- ``certificates``  what a certificate says, and whether a client may be content with it
- ``findings``      levels, single findings, and the verdict; ``kinds``: all there are
"""
