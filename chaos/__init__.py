"""Experiments on a lab: faults, schedules, histories, verdicts. Never imports a service.

- ``lab``             the commands of a lab that faults, probes and engine use
- ``faults``          one file per fault, each with bite check and verified heal
- ``administration``  what administrators do in several steps
- ``actions``         commands of the API that a schedule gives, with their outcomes
- ``keeper``          active faults, leases, heal; the list of them as bytes
- ``experiment``      the file format: model, parse with line numbers, lint, plan
- ``experiments``     the shipped files
- ``playing``         a plan is played on a lab; ``verdict`` what comes of it, ``workload``
  operations
- ``hypotheses``      probes, and what they are held against
- ``observe``         looking at a lab: whole looks, guests' disks, boots, audit trails
- ``oracle``          the documented behaviour as a model of its own, and the truth table
- ``matrix``          the truth table, played: stagings, letters from evidence, comparison
- ``load``            rates over time, arrivals, thresholds
- ``history``         the history of a run
- ``checks``          offline, three-valued judgements of a history
- ``report``          what a run was, for people and pipelines: figures of its records
- ``points``          storage calls, and what strikes at them
- ``selectors``       names, roles, ranges, shares; ``draws`` seeded streams; ``units`` 30s, 5%;
  ``percentiles`` of values
- ``reference``       what can stand in an experiment, from the registries · ``entries`` its rows
- ``fields``          fields of files that people write
- ``yaml_file``       the one reader of YAML files that people write
- ``errors``          ids, texts, fixes
- ``verdict``         how a run ended
"""
