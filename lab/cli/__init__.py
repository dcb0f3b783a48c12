"""The command line: parses, asks the lab, prints. Decides nothing.

A command of a lab is derived of its struct in ``lab.schema.commands``. The folders have commands
that need a terminal flow of their own, an argument that only a terminal has, or no lab.

- ``main``      the program, exit codes, error messages
- ``program``   parses: the commands that are ``derived``, and those of ``grammar``
- ``derived``   a command's function, help and arguments, made of its struct
- ``plain_get``  a ``get`` that needs no parser           - ``asked``     lab and format
- ``results``   gives a command and prints its answer     - ``pages``     answers that are no table
- ``connect``   to a running lab                          - ``output``    tables, JSON, YAML, names
- ``options``   options of every command                  - ``progress``  of long commands
- ``values``    durations, shares, key=value, files       - ``names``     that a shell completes
- ``listing``   what every ``get`` can do with its list   - ``streams``   closed, full, read no more
- ``completion``  scripts for shells
- ``interrupts``  the first is raised, a further one is the end

- ``running``      up, down, status, wait, events, logs, machines, serve, doctor
- ``experiments``  chaos, runs, report, check, matrix, conformance
- ``lookup``       explain, schema                        - ``loads``     load
- ``keyservers``   kmip                                  - ``watch``     watch
"""
