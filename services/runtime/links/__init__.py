"""Links: what happens to a message between two nodes.

``rules``    one class for each kind of rule; another kind is added here, and as a struct in
             ``protocol.messages.agent.links``
``passage``  one message on one link: its copies, and their fates, which the seed fixes
``table``    the rules in force where nodes run; the bus port asks it at egress and at ingress
``desired``  the controller's side: the rules that should be in force, each change a new epoch

The rules of a link form a chain, in the order in which they were put in force. Each rule judges
what the one before lets pass, late or twice: a loss after a delay still loses, and a duplicate of a
delayed message is two delayed messages, each with a fate of its own in the rest of the chain.
"""
