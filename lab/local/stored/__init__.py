"""Commands for runs that are stored on this machine.

Map:

- ``checking``         the checks of a stored run once more, on its history alone
- ``conversation``     what was said on the bus of a stored run
- ``load_runs``        a stored load, told again
- ``matrix_runs``      a stored run of the matrix
- ``reports``          reports of stored runs
- ``run_description``  what is told of every stored run, whatever has made it
- ``runs``             runs that are stored on this machine
- ``spans``            its requests as spans of OpenTelemetry
- ``sweep_runs``       a stored run of the crash sweep, told again
"""
