"""Commands of this machine: they need no lab, or start one of their own.

- ``labs``, ``lab_list``, ``remote``  labs that run here or elsewhere · ``lab_files``  their files
- ``question``  a command that changes nothing, asked with few imports
- ``experiment_files``  files of experiments, and plans for them · ``stored``  stored runs
- ``matrix``, ``outside``  the truth table
- ``fuzzing``, ``conformance``, ``kmip``  other plays
- ``broker_config``, ``logs``  files for administrators, records of nodes
- ``calibration``  service times of this machine, measured · ``validation``  held to real processes
- ``prediction``  which node a storm saturates first, and what doubling it buys
- ``vsphere``  an API server in front of a lab, and what its clients need
- ``simulation_socket``  commands for a simulated lab that another process serves
- ``schema``, ``schema_parts``, ``explain``, ``search``  what there is
- ``json_lines``  commands of another program; ``session_page``: its lab as an HTML file
"""
