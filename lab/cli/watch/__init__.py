"""``keystead watch``: a lab, or a stored run, as it changes, on a terminal or a page.

- ``asking``   asks a lab
- ``scene``    what is to be seen, made of a lab's answers or of a run's history
- ``drawing``  a scene as lines of a width and a height
- ``command``  asks, draws, reads keys
- ``web``      the page
"""
