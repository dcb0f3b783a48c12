"""Loads: operations offered at a rate that no answer changes, and what came of them.

- ``generator``         offers arrivals when they are due, whatever became of the earlier ones, and
  records what came of every operation
- ``report``            from a load that was offered to its figures, its report and its verdict
- ``experiment_loads``  loads of experiments
- ``stored_loads``      loads as stored runs
- ``page``              a load as one HTML file, or two beside each other (rates and latency over
  time, latency by percentile); a load as JUnit XML, with a case for each threshold
- ``vcenters``          what vCenters ask of a key server
- ``offering``          a load on a key server
"""
