"""How the tests of this project are run: collected once, then shared out to forked workers.

- ``__main__``   ``./keystead test``: linters and types beside pytest, one verdict at the end
- ``plugin``     pytest's side: options, forecast, summary; replaces pytest's loop over the tests
- ``pool``       the process that hands out tests and hears how they end
- ``worker``     a forked process that runs what it is handed
- ``units``      what is handed out: tests that share fixtures stay together
- ``durations``  how long tests took before, for the order and the forecast
- ``reach``      which test uses which function and file; what to run after a change
- ``sources``    what a change of the tree changes
- ``leftovers``  processes that outlive their test are ended with the run

There are two kinds of workers: as many as cores for tests that compute, and three times as many for
tests that mostly wait for real processes. The latter have the higher priority: they are the ones
with time limits.
"""
