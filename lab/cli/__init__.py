"""The command line: parses, asks the lab, prints. Decides nothing.

- ``main``     the program, exit codes, error messages    - ``connect``  the way to a running lab
- ``output``   tables, JSON, YAML, names                   - ``options``  options of every command
- ``values``   arguments: durations, shares, key=value    - ``progress`` of long commands
- ``entry``    puts commands into their group
- ``labs``     up, down, status, list, version            - ``hosts``, ``vms``, ``keys``
- ``journal``  events, logs                                - ``measure``  bench
- ``faults``   link, faults, heal                         - ``describe`` describe
- ``explain``  errors and rules, with ``knobs``              - ``schema``
- ``chaos``    chaos list, lint, plan, run, replay; runs   - ``doctor``
"""
