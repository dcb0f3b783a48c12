"""The command line: parses, asks the lab, prints. Decides nothing.

A command of a lab is derived of its struct in ``lab.schema.commands``. A module here has commands
that need a terminal flow of their own, an argument that only a terminal has, or no lab.

- ``main``      the program, exit codes, error messages
- ``program``   parses: the commands that are ``derived``, and those of ``grammar``
- ``derived``   a command's function, help and arguments, made of its struct
- ``results``   gives a command and prints its answer     - ``pages``     answers that are no table
- ``connect``   to a running lab                          - ``output``    tables, JSON, YAML, names
- ``options``   options of every command                  - ``progress``  of long commands
- ``values``    durations, shares, key=value, files       - ``names``     that a shell completes
- ``listing``   what every ``get`` can do with its list   - ``waiting``   wait, completion
- ``labs``      up, down, status, list, version           - ``journal``   events, logs
- ``machines``  a lab on several machines: bundles        - ``agents``    join it, health
- ``vsphere``   serve, env, exec: clients of vSphere
- ``bus``       what servers of others have to know
- ``hosts``     host power-on, whose boot options may be secrets
- ``keys``      provider set, which takes a part of an entry away
- ``describe``  describe run                              - ``explain``   errors, rules, ``knobs``
- ``chaos``     chaos list, lint, plan, run, replay; runs
- ``schema``    of answers and files                    - ``api``       JSON lines for programs
- ``interrupts``  the first is raised, a further one is the end
- ``tap``       what was said on the bus of a run         - ``reference`` of experiments
- ``checking``  the checks of a stored run once more      - ``fuzz``      chaos fuzz, shrink
- ``report``    of a stored run
- ``doctor``    what a lab needs                          - ``measure``   bench
- ``streams``   closed, full, read no more
- ``conformance``  assertions, played
- ``kmip``      a key server without a lab    - ``kmip_replay``  vCenter's flow against any
- ``load``      a rate that no answer changes    - ``load_told``, ``load_files``  what came of it
- ``load_run``  the same on a lab    - ``load_rate``  of one that runs, another rate
- ``matrix``    the truth table, played
- ``sweep``     stores struck at their storage calls
"""
