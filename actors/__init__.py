"""What a call *does*: one file per actor, the supervisor that wires them (`call.py`), the messages they exchange.

This room knows channels, cancel scopes and Trio's time. It never knows a socket, JSON, HTTP, a field name of a wire, SQL:
the outside is reached through the ports of `ports.py` alone.
"""
