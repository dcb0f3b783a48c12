"""The ways in to a key server; each proves the caller and turns messages into ``operations``.

- ``bus``  requests on the data bus, and from the console of the server itself
- ``pair`` the other server of a pair: what each tells the other, and when that is answered
"""
