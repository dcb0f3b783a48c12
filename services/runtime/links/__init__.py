"""Links: what happens to a message on its way from one node to another.

``rules``    one class for each kind of rule; the only place to touch for another kind, beside its
             struct in ``protocol.messages.agent.links``
``passage``  one message's way over one link: its copies, and the fates that the seed fixes
``table``    the rules in force where nodes live; the bus port asks it at egress and at ingress
``desired``  the controller's side: what should be in force, each change under a new epoch

The rules of a link form a chain, in the order in which they were put in force. What one rule lets
pass, late or twice, the next one judges: loss after a delay still loses, and a duplicate of a
delayed message is two delayed messages, each with a fate of its own in what follows.
"""
