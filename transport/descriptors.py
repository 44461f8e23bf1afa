"""Descriptors of this process: every call has several, and the limit that systemd and shells set (1024) is not made for them."""

import resource

import structlog

A_CALL = 4
"""Its stream, its model and the one that is prepared beside it, and a webhook."""
BESIDE = 200
"""The store, the carrier's API, the backend, files, whoever asks for metrics."""

log = structlog.get_logger("triode.server")


def provide_for(calls: int) -> None:
    """Raises the limit to what so many calls need, as far as it may be; says so if that is too little."""
    needed = calls * A_CALL + BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < needed:
        log.warning("too_few_descriptors", limit=most, needed=needed)
