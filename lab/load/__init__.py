"""Loads: operations offered at a rate that no answer changes, and what came of them.

- ``generator``  offers arrivals of ``chaos.load``    - ``record``     what came of each
- ``figures``    percentiles, rates, errors
- ``report``     a load's report and verdict
- ``of_run``     the load of an experiment's run    - ``written``    an experiment that is a load
- ``kept``       loads as stored runs, and two compared    - ``journal``  until then
- ``page``, ``pictures``  as HTML    - ``junit``  for pipelines
- ``vcenters``   what vCenters ask of a key server    - ``offering``  a load on a key server
"""
