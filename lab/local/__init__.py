"""Commands of this machine: they need no lab, or start one of their own.

- ``labs``, ``lab_list``, ``remote``  labs that run here or elsewhere · ``lab_files``  their files
- ``experiment_files``, ``runs``, ``run_description``, ``checking``, ``reports``, ``conversation``
  experiments and their stored runs
- ``matrix``, ``matrix_runs``, ``outside``  the truth table
- ``fuzzing``, ``sweep_runs``, ``conformance``, ``load_runs``, ``kmip``  other plays
- ``broker_config``, ``logs``  files for administrators, records of nodes
- ``calibration``  service times of this machine, measured
- ``vsphere``  an API server in front of a lab, and what its clients need
- ``schema``, ``schema_parts``, ``explain``, ``search``  what there is
- ``json_lines``  commands of another program; ``session_page``: its lab as an HTML file
"""
