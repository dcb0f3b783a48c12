"""``keystead watch --web``: a page on loopback that shows a lab and follows it (decision 105).

- ``serving``  the command's flow: a lab, a port, an address to open
- ``app``      the routes of the page's server, which clients it accepts, and the headers of every
  answer
- ``sent``     reads what a button sends
- ``updates``  queries a lab while a page is open, and sends each client the parts that have
  changed; the same state for other programs
- ``parts``    what a lab answered as parts of the page
- ``messages`` messages that travel, as a stream
- ``runs``     stored runs
- ``what_if``  a stored run with one more fault from a moment on
- ``webhook``  sends events to an address
- ``actions``  command lines that the page may give, and their lines of an experiment
"""
