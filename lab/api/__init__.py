"""The commands of a lab, served the same way by a running lab and by a simulated one.

A command is a frozen struct, its answer another one. Every way in encodes these and decides
nothing: the terminal (``lab.cli``), Python (``lab.client``). To add a command: its struct, its
answer if there is none that fits, its function, a line in ``table``, its looks in ``lab.cli``.

- ``commands``  what can be asked             - ``answers``    what is answered
- ``wire``      how both travel               - ``documents``  the document of an answer
- ``table``     joins command, answer, function; ``perform`` does one on a ``session``
- ``look``, ``hosts``, ``upgrade``, ``at_host``, ``vms``, ``copies``, ``mobility``, ``inventory``,
  ``keys``, ``custody``, ``native``, ``crypto``, ``alarms``, ``roles``, ``trust``, ``vcenters``,
  ``faults``, ``describe``, ``vsan``, and ``experiments``, by noun
- ``files``     files that a command names, read and written by whoever gives it
- ``remote``    a running lab over its control broker    - ``schema``  all commands and answers
- ``whereabouts``  the vCenter that has a VM
- ``machines``  each node's machine, also of one that cannot be asked
- ``several_machines``  the real ones that a lab stands on
- ``views``     from messages of services to answers
- ``reasons``   why it is so, pure: of ``facts``, which ``observed`` asks for; ``missing_keys`` is
  its part for keys that a host lacks
- ``replication``  how a key server stands with others, in words
- ``kmip_trust``  trust between vCenters and KMIP servers   - ``entries``  those of their servers
- ``refusal``   the product's no, for people            - ``following``  vCenter's events to the end
- ``waiting``   until a lab is as it is wanted
- ``labs``, ``lab_list``, ``runs``, ``run_description``, ``checking``, ``reports``, ``fuzzing``,
  ``matrix``, ``matrix_runs``, ``outside``, ``sweep``, ``sweep_runs``, ``load_runs``,
  ``conformance``, ``conversation``, ``broker_config``, ``experiment_files``, ``kmip``, ``logs``,
  ``explain``: they need no lab
"""
