"""The command line: parses, asks the lab, prints. Decides nothing.

- ``main``     the program, exit codes, error messages    - ``connect``  the way to a running lab
- ``output``   tables, JSON, YAML, names                   - ``options``  options of every command
- ``labs``     up, down, status, list, logs, events        - ``hosts``, ``vms``, ``keys``
- ``faults``   link, faults, heal                          - ``describe`` describe, explain
- ``chaos``    chaos list, lint, plan, run, replay; runs   - ``doctor``, ``bench``
"""
