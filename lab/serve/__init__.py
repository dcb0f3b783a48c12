"""Commands of a lab, executed the same way in real processes and in virtual time.

Every way in encodes commands and decides nothing: the terminal (``lab.cli``), Python
(``lab.client``). To add a command: its struct in ``lab.schema.commands``, an answer of a new kind
in ``lab.schema.answers``, a function here that is marked with ``@executes``.

- ``table``             executes a command on a ``session``
- ``executing``         which function executes which command
- ``look``, ``hosts``, ``upgrade``, ``at_host``, ``vms``, ``native``, ``crypto``, ``alarms``,
  ``roles``, ``trust``, ``vcenters``, ``faults``, ``vsan``, ``experiments``  commands by subject
- ``keyservers``        commands for key servers, their keys and their trust
- ``explaining``        ``describe``: why an object is as it is, with rule and cure
- ``files``             files that a command names, read and written where it is given
- ``machines``          each node's machine, also of one that cannot be asked
- ``several_machines``  the real ones that a lab stands on
- ``views``             from messages of services to answers
- ``following``         vCenter's events to the end
- ``waiting``           until a lab is in the state that a command names
"""
