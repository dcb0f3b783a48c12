"""``keystead watch``: a lab, or a stored run, as it changes, on a terminal or a page.

- ``scene``    what `keystead watch` shows
- ``drawing``  a scene as lines of a width and a height
- ``command``  asks, draws, reads keys
- ``web``      the page
"""
