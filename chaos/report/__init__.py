"""The report of a run, from its records alone: figures, then geometry, then one file.

- ``story``         a run as its folder tells it
- ``phases``        the faults of a history as intervals of time, and where a moment of a run lies
- ``availability``  how much of each phase every VM ran, and why one did not
- ``latency``       operations from their invoke to their end, by phase, in HDR histograms
- ``outcomes``      checks and hypotheses of a run as rows
- ``shapes``        what a picture is made of
- ``timeline``      the timeline of a run as a picture
- ``topology``      the pictures: places of shapes, by arithmetic alone
- ``plots``         operations, hypotheses and the work of nodes, drawn over the same axis as the
  timeline of their run
- ``compare``       two runs beside each other
- ``page``          one HTML file of it all: ``templates`` has its text, style and small script
- ``matrix``        the report of a run of the matrix
- ``filling``       the template engine: what is put in is escaped
"""
