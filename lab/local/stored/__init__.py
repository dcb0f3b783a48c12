"""Commands for runs that are stored on this machine.

Map:

- ``runs``          runs that are stored on this machine
- ``descriptions``  descriptions of stored runs, whatever has made them
- ``reports``       reports of stored runs
- ``spans``         its requests as spans of OpenTelemetry
"""
