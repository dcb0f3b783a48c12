"""The command line: parses, asks the lab, prints. Decides nothing.

- ``main``      the program, exit codes, error messages     - ``connect``   to a running lab
- ``output``    tables, JSON, YAML, names                   - ``options``   options of every command
- ``values``    arguments: durations, shares, key=value     - ``progress``  of long commands
- ``program``   parses: the commands of ``grammar``         - ``names``     that a shell completes
- ``listing``   what every ``get`` can do with its list     - ``waiting``   wait, completion
- ``labs``      up, down, status, list, version             - ``hosts``, ``vms``, ``keys``
- ``journal``   events, logs                                - ``faults``    link, faults, heal
- ``mobility``  VMs that move                             - ``vsan``      vSAN encryption
- ``inventory`` VMs and hosts in and out of vCenter         - ``at_host``   at a host's console
- ``crypto``    modes of hosts and clusters, keys that vCenter knows, alarms, tasks
- ``describe``  everything known of one object              - ``explain``   errors, rules, ``knobs``
- ``chaos``     chaos list, lint, plan, run, replay; runs   - ``schema``    answers, files
- ``playing``   how far a run is, and how it is stopped     - ``several``   experiments in turn
- ``interrupts``  the first is raised, a further one is the end
- ``tap``       what was said on the bus of a run           - ``reference`` of experiments
- ``checking``  the checks of a stored run once more       - ``fuzz``      chaos fuzz, shrink
- ``report``    of a stored run
- ``doctor``    what a lab needs                            - ``measure``   bench
- ``custody``   what seals a key server's keys
- ``streams``   closed, full, read no more                - ``native``    native key providers
- ``trust``     Trust Authority, its thirteen steps
- ``copies``    clones, templates, snapshots
- ``roles``     roles, and users who have them
- ``conformance``  assertions, played
- ``kmip``      a key server without a lab - ``kmip_replay``  vCenter's flow against any
- ``matrix``    the truth table, played
- ``sweep``     stores struck at their storage calls
"""
