"""Experiments on a lab: faults, schedules, histories, verdicts. Never imports a service.

- ``lab``          the verbs of a lab that faults, probes and engine use
- ``faults``       one file per fault, each with bite check and verified heal
- ``keeper``       active faults, leases, heal
- ``experiment``   the file format: model, parse with line numbers, lint, plan
- ``experiments``  the shipped files
- ``engine``       plays a plan; ``verdict`` its exit codes; ``requirements`` does the lab fit
- ``hypothesis``   probes measured in time; ``probes`` what there is; ``tolerance`` ">= 1"
- ``workload``     operations with arrivals drawn up front
- ``observe``      one look at a lab; ``guests`` what disks must hold; ``recoveries`` boots
- ``history``      hash-chained JSONL; ``checks`` offline, three-valued
- ``selectors``    names, roles, ranges, shares; ``draws`` seeded streams; ``units`` 30s, 5%
- ``yaml_file``    the one reader of YAML, for lab files too: values with line and column
- ``errors``       ids, texts, fixes
"""
