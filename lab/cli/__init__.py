"""The command line: parses, asks the lab, prints. Decides nothing.

A command of a lab is derived of its struct in ``lab.schema.commands``. The folders have commands
that need a terminal flow of their own, an argument that only a terminal has, or no lab.

- ``main``         the program, exit codes, error messages
- ``program``      parses: the commands that are ``derived``, and those of ``grammar``
- ``derived``      a command's function, help and arguments, made of its struct
- ``plain_get``    a ``get`` that needs no parser
- ``invocation``   lab and format
- ``results``      a command is sent to a running lab, and its answer printed
- ``pages``        answers that are no table
- ``output``       tables, JSON, YAML, names
- ``options``      options of every command
- ``progress``     of long commands
- ``arguments``    arguments of commands
- ``streams``      closed, full, read no more
- ``interrupts``   the first is raised, a further one is the end
- ``running``      up, down, status, wait, events, logs, machines, serve, doctor
- ``experiments``  chaos, runs, report, check, matrix, conformance
- ``loads``        load
- ``watch``        watch
- ``explain``      ``explain``
- ``kmip``         ``kmip``
"""
