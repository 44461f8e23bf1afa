"""How long is waited for what really happens: processes, sockets, threads."""

PATIENCE = 100
"""Seconds. It only ends what hangs, on a machine as busy as may be, and before pytest ends the test (`timeout`)."""
