"""vCenter's flow against any key server, without a lab (``keystead kmip replay``).

- ``running``       from addresses and credentials to a report
- ``playing``       the phases of one replay, in their order
- ``trust``         who trusts whom; ``handshake`` is one connection for it
- ``flow``          keys made, tagged, used and fetched again, as vCenter does it
- ``wrapping``      a key of the server that wraps keys of VMs (vCenter 9.0)
- ``failover``      the servers of one provider among each other
- ``isolation``     a client does not see the keys of another one
- ``storm``         many hosts fetch their keys at once
- ``cleanup``       the end of the keys that were made
- ``servers``       the servers, and who asks them; ``strangers``: who should get nothing
- ``releases``      what releases of vCenter send
- ``identities``    certificates that a person gives; ``trust_flows``: those that are made
- ``commands``      commands of a person that end a server and start it again
- ``journal``       what is written down meanwhile; ``reporting`` makes a report of it
- ``page``          the report as HTML; ``junit`` for pipelines
- ``exchanges``     what an answer shows beyond whether it went well
- ``certificates``  what a certificate says, and whether a client may be content with it
- ``findings``      levels, single findings, and the verdict; ``kinds``: all there are
"""
