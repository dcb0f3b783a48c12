"""``keystead watch --web``: a page on loopback that shows a lab and follows it (decision 105).

- ``serving``  the command's flow: a lab, a port, an address to open
- ``app``      the routes; nothing is decided here
- ``guard``    who may ask: Host, Origin, the token, and the headers of every answer
- ``sent``     reads what a button sends
- ``looking``  asks the lab while somebody looks, and tells what has changed
- ``parts``    what the lab answered as parts of the page
- ``drawer``   why one object is as it is, and what can be done
- ``runs``     stored runs
- ``what_if``  a stored run with one more fault from a moment on
- ``exports``  metrics, and events as CloudEvents
- ``webhook``  sends events to an address
- ``acts``     command lines that the page may give, and their lines of an experiment
"""
