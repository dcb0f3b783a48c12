"""Experiments on a lab: faults, schedules, histories, verdicts. Never imports a service.

- ``lab``         the verbs of a lab that faults and engine use
- ``keeper``      active faults, leases, heal
- ``faults``      one file per fault, each with bite check and verified heal
- ``experiment``  the file format: model, parse with line numbers, lint, plan
- ``probes``      what hypotheses measure        - ``engine``   plays a plan, gives the verdict
- ``history``     hash-chained JSONL              - ``experiments``  the shipped files
"""
