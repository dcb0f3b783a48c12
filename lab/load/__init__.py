"""Loads: operations offered at a rate that no answer changes, and what came of them.

- ``profile``    rates over time    - ``arrivals``   all arrivals, drawn from a seed
- ``generator``  offers them        - ``record``     what came of each
- ``figures``    percentiles, rates, errors    - ``threshold``  what must hold of them
- ``report``     a load's report and verdict
- ``kept``       loads as stored runs, and two compared    - ``page``, ``pictures``  as HTML
- ``vcenters``   what vCenters ask of a key server    - ``offering``  a load on a key server
"""
