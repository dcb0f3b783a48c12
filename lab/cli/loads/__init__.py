"""``keystead load``: operations at a rate that no answer changes.

- ``load``     on a key server; runs compared         - ``run``      on a lab
- ``rate``     another rate for one that runs         - ``results``  what came of it, printed
- ``files``    in which it is kept                  - ``calibrate``  what this machine takes
- ``validate``  the simulation beside real processes  - ``predict``  which node saturates first
"""
