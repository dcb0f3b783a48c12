"""The vSphere Automation API (vAPI): tables of operations, and two codecs for them.

==============  ==========================================================
``operations``  what an operation of vAPI is, its shapes and errors
``inventory``   operations on VMs, hosts, clusters
``providers``   operations on native key providers, and on those of a host
``trust``       what can be read of a Trust Authority and of TPMs
``rest``        vAPI by REST, and its sessions
``json_rpc``    vAPI by JSON-RPC, for the Automation SDK
==============  ==========================================================
"""
