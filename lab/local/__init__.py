"""Commands of this machine: they need no lab, or start one of their own.

- ``remote``                labs that run here or elsewhere · ``lab_files``  their files
- ``labs``                  labs of this user from outside
- ``direct_query``          a command that changes nothing, asked with few imports
- ``experiment_files``      files of experiments, and plans for them · ``stored``  stored runs
- ``matrix``                the truth table played, or one cell of it explained as a story; rows
  outside of the grid, played
- ``fuzzing``, ``conformance``, ``kmip``  other plays
- ``broker_config``, ``logs``  files for administrators, records of nodes
- ``calibration``           service times of this machine, measured · ``validation``  held to real
  processes
- ``prediction``            ``load predict``
- ``vsphere``               an API server in front of a lab, and what its clients need
- ``simulation_socket``     commands for a simulated lab that another process serves
- ``schema``                the JSON schema of every command and answer, and of the files that
  people write; what stands in it several times is written once, under ``$defs``
- ``explain``               what error ids, rules, knobs and the words of experiments mean, and one
  search over everything that has a name
- ``http_address``          servers that the options ``--webhook`` and ``--otlp`` name
- ``json_lines``            a lab for another program
"""
