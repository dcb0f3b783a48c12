"""Experiments on a lab: faults, schedules, histories, verdicts. Never imports a service.

- ``lab``          the commands of a lab that faults, probes and engine use
- ``faults``       one file per fault, each with bite check and verified heal
- ``backups``      of key servers, as their administrator takes and restores them;
                   ``native_backups`` of native providers
- ``installs``     machines installed anew, vCenters restored
- ``kmip_trust``   a vCenter and KMIP servers that come to trust each other
- ``actions``      commands of the API that a schedule gives, with their outcomes
- ``keeper``       active faults, leases, heal; the list of them as bytes
- ``experiment``   the file format: model, parse with line numbers, lint, plan
- ``experiments``  the shipped files
- ``playing``      a plan is played on a lab; ``verdict`` what comes of it, ``workload`` operations
- ``hypotheses``   probes, and what they are held against
- ``observe``      looking at a lab: whole looks, guests' disks, boots, audit trails
- ``oracle``       the documented behaviour as a model of its own, and the truth table
- ``matrix``       the truth table, played: stagings, letters from evidence, comparison
- ``load``         rates over time, arrivals, thresholds
- ``history``      of a run, hash-chained; ``conversation`` what was said on its bus; both are
                   ``recording``s, streams of msgpack
- ``active_faults``  which faults are there at a moment of a history
- ``checks``       offline, three-valued judgements of a history
- ``report``       what a run was, for people and pipelines: figures of its records
- ``points``       storage calls, and what strikes at them
- ``selectors``    names, roles, ranges, shares; ``draws`` seeded streams; ``units`` 30s, 5%;
  ``percentiles`` of values
- ``reference``    what can stand in an experiment, from the registries · ``entries`` its rows
- ``naming``       names in files
- ``yaml_file``    the one reader of YAML, for lab files too: values with line and column
- ``text_file``    the text of a file that somebody names
- ``errors``       ids, texts, fixes
"""
