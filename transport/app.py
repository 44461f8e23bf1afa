"""The application that `hypercorn -c conf/hypercorn.toml transport.app:app` serves."""

import sys
from pathlib import Path

from conf import settings as conf
from transport import descriptors, log, server_guard, store
from transport.garbage import Garbage
from transport.loop_watch import LoopWatch
from transport.open_store import check
from transport.switchboard import ASKS_WITHIN, MOVE_WITHIN
from transport.web import create_app

shutdown = server_guard.install()
try:
    settings = conf.load()
    log.set_up(settings.server.log_format, settings.server.log_level)
    watch = LoopWatch(settings.server.held_ms)
    app = create_app(
        settings,
        drain_begins=shutdown.began.wait,
        drained=shutdown.over,
        loop_watch=watch,
        garbage=Garbage(),
        unwritten=Path(settings.store.unwritten) if settings.store.unwritten else None,
        left=shutdown.leave,
    )
    shutdown.needs = settings.server.drain_seconds + MOVE_WITHIN + ASKS_WITHIN
    check(settings.store.url)
    descriptors.provide_for(settings.server.max_calls)
except (conf.SettingsError, store.StoreDown) as error:
    print(f"triode cannot start: {error}", file=sys.stderr)
    # EX_UNAVAILABLE: whoever supervises the process tries again. EX_CONFIG: it is in vain.
    sys.exit(69 if isinstance(error, store.StoreAway) else 78)
