"""Commands of a lab, executed the same way in real processes and in virtual time.

Every way in encodes commands and decides nothing: the terminal (``lab.cli``), Python
(``lab.client``). To add a command: its struct in ``lab.schema.commands``, an answer of a new kind
in ``lab.schema.answers``, a function here that is marked with ``@executes``.

- ``table``                 executes a command on a ``session``
- ``session``               what a command is given
- ``upgrade``, ``vms``, ``crypto``  , ``roles``, ``trust``, ``vcenters``, ``faults``, ``vsan``,
  ``experiments``  commands by subject
- ``look``                  what vCenter, hosts, key servers and the lab say
- ``hosts``                 hosts
- ``vcenters``              vCenters
- ``keyservers``            commands for key servers, their keys and their trust
- ``explaining``            ``describe``: why an object is as it is, with rule and cure
- ``files``                 files that a command names, read and written where it is given
- ``messages``, ``message_tap``  messages that travel now
- ``machines``              the machines that a lab stands on, as its supervisor knows them, and
  what the lab knows of each node's machine, also of one that does not answer just now
- ``views``                 from messages of services to answers
- ``waiting``               reading vCenter's event log to its end, and on, and waiting until a lab
  is as somebody wants it
- ``faults``                faults by hand
"""
