"""Commands that start and end a lab, and those of one that runs whose terminal flow is their own.

- ``labs``      up, down, status, list, version           - ``journal``   events, logs
- ``machines``  a lab on several machines: bundles        - ``agents``    join it, health
- ``vsphere``   serve, env, exec: clients of vSphere      - ``waiting``   wait, completion
- ``lab_files``  lab new, lab lint                       - ``trying``    try: the story, guided
- ``bus``       what servers of others have to know       - ``api``       JSON lines for programs
- ``hosts``     host power-on, whose boot options may be secrets
- ``keys``      provider set, which takes a part of an entry away
- ``doctor``    what a lab needs                          - ``measure``   bench
"""
