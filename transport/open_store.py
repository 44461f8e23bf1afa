"""Opens the store that an address names: SQLite or Redis."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import trio

from transport.store import Store, StoreDown


def check(url: str) -> None:
    """Opens the store at `url` and closes it again, before there is a server. Raises StoreDown (StoreAway: it may come back)."""

    async def once() -> None:
        async with open_store(url):
            pass

    trio.run(once)


def open_store(url: str) -> AbstractAsyncContextManager[Store]:
    """The store at `url`: sqlite:///path, or redis://host[:port][/db]. Raises StoreDown on entering."""
    if url.startswith("sqlite:///"):
        return _open_sql(url)
    if url.startswith(("redis://", "rediss://")):
        from transport.store_redis import open_redis  # with its library, only for those who need it

        return open_redis(url)
    raise StoreDown(f"store.url = {url!r} cannot be opened: allowed are sqlite:///path/to/file.db and redis://host")


@contextlib.asynccontextmanager
async def _open_sql(url: str) -> AsyncIterator[Store]:
    from transport import store_sql

    opening = trio.CapacityLimiter(1)
    store = store_sql.SqlStore(await trio.to_thread.run_sync(store_sql.open_engine, url, limiter=opening))
    try:
        yield store
    finally:
        store_sql.close(store)
