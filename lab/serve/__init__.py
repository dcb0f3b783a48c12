"""Commands of a lab, executed the same way in real processes and in virtual time.

Every way in encodes commands and decides nothing: the terminal (``lab.cli``), Python
(``lab.client``). To add a command: its struct in ``lab.schema.commands``, an answer of a new kind
in ``lab.schema.answers``, a function here that is marked with ``@executes``.

- ``table``     ``perform`` executes a command on a ``session``
- ``executing``  which function executes which command
- ``look``, ``hosts``, ``upgrade``, ``at_host``, ``vms``, ``copies``, ``mobility``, ``inventory``,
  ``keys``, ``custody``, ``native``, ``crypto``, ``alarms``, ``roles``, ``trust``, ``vcenters``,
  ``faults``, ``describe``, ``vsan``, and ``experiments``, by noun
- ``files``     files that a command names, read and written by whoever gives it
- ``whereabouts``  the vCenter that has a VM
- ``machines``  each node's machine, also of one that cannot be asked
- ``several_machines``  the real ones that a lab stands on
- ``views``     from messages of services to answers
- ``reasons``   why it is so, pure: of ``facts``, which ``observed`` asks for; ``missing_keys`` is
  its part for keys that a host lacks
- ``replication``  how a key server stands with others, in words
- ``kmip_trust``  trust between vCenters and KMIP servers   - ``entries``  those of their servers
- ``following``  vCenter's events to the end    - ``waiting``  until a lab is as it is wanted
"""
