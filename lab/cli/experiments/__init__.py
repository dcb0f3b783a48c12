"""Commands that play experiments, and read what stored runs were.

- ``chaos``     chaos list, lint, plan, run, replay; runs
- ``describe``  describe run                              - ``report``    of a stored run
- ``fork``      chaos fork: what if, from a moment of a run on
- ``tap``       what was said on the bus of a run         - ``fuzz``      chaos fuzz, shrink
- ``checking``  the checks of a stored run once more      - ``matrix``    the truth table, played
- ``sweep``     stores struck at their storage calls      - ``conformance``  assertions, played
"""
