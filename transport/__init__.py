"""How bytes and requests reach others: the media stream, TwiML, the model's socket, the store, the web app.

This room knows wire formats, signatures and retries, and implements the ports of `actors/ports.py`. It never knows the
dialogue or who speaks next.
"""
