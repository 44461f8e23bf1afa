"""The store in a real Redis that goes away, hangs and comes back; what a URL may be; how it is spoken to."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trustme

from actors import call as calls_of_actors
from actors.messages import Disposition
from tests.kit.patience import PATIENCE
from tests.transport.store_kit import ANN, US, RedisServer, a_record, free_port, need_redis, one_store, two_stores
from transport import store_redis
from transport.loopback.front import Front
from transport.open_store import open_store
from transport.store import Store, StoreAway, StoreDown

pytest_plugins = ["tests.transport.store_kit"]

LATER = 2_000_000_000
USES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "answered": lambda store: store.answered("CA1", ANN, US),
    "claim_token": lambda store: store.claim_token("nonce", LATER, 0),
    "keep_disposition": lambda store: store.keep_disposition("CA1", Disposition.DIAL),
    "take_disposition": lambda store: store.take_disposition("CA1"),
    "reopen": lambda store: store.reopen("CA1"),
    "status": lambda store: store.status("CA1", "ringing", 0),
    "keep_record": lambda store: store.keep_record(a_record()),
    "keep_recording": lambda store: store.keep_recording("RE1", "CA1", "", 9, "completed"),
    "call": lambda store: store.call("CA1"),
    "keep_story": lambda store: store.keep_story("CA1", ANN, US, {}, over=False, now=1.0),
    "story": lambda store: store.story("CA1"),
    "unfinished": lambda store: store.unfinished(ANN, US, 0.0),
    "take_unfinished": lambda store: store.take_unfinished(ANN, US, 0.0),
    "claim_errand": lambda store: store.claim_errand("CA1/sms", "CA1", "sms", 1.0),
    "settle_errand": lambda store: store.settle_errand("CA1/sms", "done", "SM1", {}),
    "change_errand": lambda store: store.change_errand("CA1/sms", lambda row: row),
    "open_errands": lambda store: store.open_errands("sms", 0.0),
    "errand_by_reference": lambda store: store.errand_by_reference("SM1"),
    "errands": lambda store: store.errands("CA1"),
    "opt_out": lambda store: store.opt_out(ANN, 1.0),
    "claim_text": lambda store: store.claim_text(ANN, "CA1/sms", 1.0, 1),
    "has_opted_out": lambda store: store.has_opted_out(ANN),
    "promise_delivery": lambda store: store.promise_delivery("CA1", 1.0),
    "hasten_delivery": lambda store: store.hasten_delivery("CA1", 1.0),
    "take_deliveries": lambda store: store.take_deliveries(1.0, 60.0, 9),
    "next_delivery": lambda store: store.next_delivery(),
    "settle_delivery": lambda store: store.settle_delivery("CA1", "dead", 1.0, "", 1.0),
    "deliveries": lambda store: store.deliveries(),
    "revive_delivery": lambda store: store.revive_delivery("CA1", 1.0),
    "forget_before": lambda store: store.forget_before(a_record().began),
    "forget_number": lambda store: store.forget_number(ANN),
}


def test_every_promise_is_tried_below():
    promises = {name for name, value in vars(Store).items() if callable(value) and not name.startswith("_")}
    assert set(USES) == promises


async def all_fail(store: Store) -> None:
    """Each on its own task: none may hang, none may raise anything else."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for use in USES.values():
                nursery.start_soon(fails, store, use)


async def fails(store: Store, use: Callable[[Store], Awaitable[object]]) -> None:
    with pytest.raises(StoreDown):
        await use(store)


async def all_work(store: Store) -> None:
    with trio.fail_after(PATIENCE):
        for use in USES.values():
            await use(store)


# ---------------------------------------------------------------- a server that goes away


async def test_a_server_that_is_killed_is_down_and_used_again_when_it_is_back(frail_redis: RedisServer):
    async with one_store(frail_redis.url) as store:
        await all_work(store)
        frail_redis.kill()
        await all_fail(store)
        await all_fail(store)
        frail_redis.start()
        await all_work(store)
        assert await store.claim_token("another", LATER, 0)


async def test_a_server_that_hangs_is_down_and_used_again_when_it_goes_on(frail_redis: RedisServer):
    async with one_store(frail_redis.url) as store:
        await all_work(store)
        frail_redis.freeze()
        await all_fail(store)
        await all_fail(store)  # now by new connections, which it takes and does not answer
        frail_redis.thaw()
        await all_work(store)


async def test_a_server_that_hangs_and_is_killed_then_is_used_again_when_it_is_back(frail_redis: RedisServer):
    async with one_store(frail_redis.url) as store:
        frail_redis.freeze()
        await all_fail(store)
        frail_redis.kill()
        await all_fail(store)
        frail_redis.start()
        await all_work(store)


async def test_a_line_that_went_dead_without_a_word_is_given_up_for_a_new_one(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    """A machine that loses its power closes nothing; the system would try for a quarter of an hour."""
    dead = trio.Event()

    async def stand_between(stream: trio.SocketStream) -> None:
        async with stream, await trio.open_tcp_stream("127.0.0.1", redis.port) as server:
            deaf = not dead.is_set()  # the first line, once it is dead
            while asked := await stream.receive_some():
                if not (deaf and dead.is_set()):
                    await server.send_all(asked)
                    await stream.send_all(await server.receive_some())

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, stand_between, listeners)
        async with one_store(f"redis://127.0.0.1:{listeners[0].socket.getsockname()[1]}") as store:
            dead.set()
            with monkeypatch.context() as patched:
                patched.setattr(store_redis, "ANSWER_SECONDS", 0.2)
                await fails(store, USES["opt_out"])
            await store.opt_out(ANN, 1.0)
        nursery.cancel_scope.cancel()


async def test_a_server_that_has_become_a_replica_is_left_for_the_one_that_took_its_place(
    frail_redis: RedisServer, redis: RedisServer
):
    front = Front(frail_redis.port, redis.port)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(front.serve)
        async with one_store(f"redis://127.0.0.1:{port}") as store:
            await store.answered("CA1", ANN, US)
            frail_redis.ask("REPLICAOF", "127.0.0.1", str(free_port()))
            front.ports.reverse()
            with pytest.raises(StoreDown, match="read only"):
                await store.answered("CA2", ANN, US)
            await store.answered("CA2", ANN, US)
        async with one_store(redis.url) as there:
            assert await there.call("CA2") is not None
        nursery.cancel_scope.cancel("the test is over")


@pytest.mark.parametrize("answer", ["MASTERDOWN Link with MASTER is down", "BUSY Redis is busy running a script."])
async def test_a_server_that_cannot_answer_just_now_is_worth_another_try(answer: str):
    async def serve(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(f"-{answer}\r\n".encode() * data.count(b"*"))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        with pytest.raises(StoreAway, match=answer[:4]):
            async with open_store(f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"):
                pass
        nursery.cancel_scope.cancel("the test is over")


async def test_who_stops_waiting_takes_no_connection_with_him(frail_redis: RedisServer):
    """A pool may lose a place each time a wait for a new connection is cut off; the callers of a store are impatient."""
    async with one_store(frail_redis.url) as store:
        frail_redis.kill()
        with socket.socket() as mute:  # it takes what the system lets it take, and then not even that
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            mute.bind(("127.0.0.1", frail_redis.port))
            mute.listen(0)
            for _ in range(100):
                with trio.move_on_after(0.01), pytest.raises(StoreDown):
                    await store.claim_token("a", LATER, 0)
        frail_redis.start()
        await all_work(store)


async def test_who_stops_waiting_for_an_answer_spoils_nobody_elses(redis: RedisServer):
    async with one_store(redis.url) as store:
        for number in range(20):
            await store.keep_disposition(f"CA{number}", list(Disposition)[number % len(Disposition)])
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.take_disposition("CA0")
            with trio.move_on_after(0.0001):
                await store.take_disposition("CA0")
            assert await store.take_disposition(f"CA{number}") is list(Disposition)[number % len(Disposition)]


async def test_many_that_find_the_connection_lost_make_one_together(frail_redis: RedisServer):
    async with one_store(frail_redis.url) as store:
        frail_redis.kill()
        frail_redis.start()
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(store.promise_delivery, f"CA{number}", 1.0)
        assert len(await store.deliveries()) == 50
        clients = frail_redis.ask("CLIENT", "LIST").decode()
        assert clients.count(" cmd=client|list ") == 1
        assert clients.count("id=") == 2


async def test_a_command_whose_answer_was_lost_is_not_sent_again(redis: RedisServer):
    """Else a token would be found used by its own claim. Who stands between lets the claim through and cuts the line."""
    claims: list[bytes] = []

    async def stand_between(stream: trio.SocketStream) -> None:
        async with stream, await trio.open_tcp_stream("127.0.0.1", redis.port) as server:
            while asked := await stream.receive_some():
                await server.send_all(asked)
                answer = await server.receive_some()
                if b"triode:token:" in asked:
                    claims.append(asked)
                    return
                await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, stand_between, listeners)
        async with one_store(f"redis://127.0.0.1:{listeners[0].socket.getsockname()[1]}") as store:
            with pytest.raises(StoreDown):
                await store.claim_token("nonce", LATER, 0)
            await store.opt_out(ANN, 1.0)  # the line is made again
        nursery.cancel_scope.cancel()
    assert len(claims) == 1
    async with one_store(redis.url) as store:
        assert not await store.claim_token("nonce", LATER, 0)


def test_an_operation_has_failed_before_the_end_of_a_call_stops_waiting_for_it():
    """Else the wait is cut off from outside, and a store that is down is neither counted nor logged."""
    assert store_redis.ANSWER_SECONDS < store_redis.SECONDS < calls_of_actors.WRAP_UP


async def test_a_call_that_others_change_all_the_time_is_given_up(redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_redis.scripts, "CHANGE_CALL", "return 0")
    async with one_store(redis.url) as store:
        with pytest.raises(StoreDown, match="is changed by others all the time"):
            await store.status("CA1", "ringing", 0)


# ---------------------------------------------------------------- what cannot be done


async def test_a_server_that_takes_nothing_more_is_down_for_who_writes(frail_redis: RedisServer):
    async with one_store(frail_redis.url) as store:
        await store.keep_disposition("CA1", Disposition.DIAL)
        frail_redis.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreDown):
            await store.keep_disposition("CA1", Disposition.IVR)
        assert await store.take_disposition("CA1") is Disposition.DIAL


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.answered("CA1", "\ud800", US),
        lambda store: store.claim_token("\ud800", LATER, 0),
        lambda store: store.keep_story("CA1", ANN, US, {"odd": object()}, over=False, now=1.0),
        lambda store: store.promise_delivery("CA1", float("nan")),
        lambda store: store.claim_token("a", 10**30, 0),
    ],
    ids=["half a character", "half a character in a token", "no plain data", "no number", "too far away"],
)
async def test_what_redis_cannot_hold_is_a_store_that_is_down_for_this_one_only(
    redis: RedisServer, use: Callable[[Store], Awaitable[object]]
):
    async with one_store(redis.url) as store:
        with pytest.raises(StoreDown):
            await use(store)
        assert await store.deliveries() == []
        assert await store.call("CA1") is None


async def test_a_key_that_holds_something_else_is_a_store_that_is_down(redis: RedisServer):
    redis.ask("SET", "triode:call:CA1", "of somebody else")
    async with one_store(redis.url) as store:
        for name in ("answered", "take_disposition", "call"):
            with pytest.raises(StoreDown, match="WrongType"):
                await USES[name](store)


# ---------------------------------------------------------------- what is kept, and where


async def test_every_key_is_ours_and_a_used_token_goes_by_itself(redis: RedisServer):
    async with one_store(redis.url) as store:
        await all_work(store)
    keys = redis.ask("KEYS", "*").decode().split("\r\n")[2::2]
    assert keys
    assert [key for key in keys if not key.startswith("triode:")] == []
    ttl = int(redis.ask("TTL", "triode:token:nonce").removeprefix(b":"))
    assert LATER < ttl <= LATER + 60


async def test_databases_of_one_server_are_apart(redis: RedisServer):
    redis.ask("FLUSHALL")
    async with one_store(f"{redis.url}/0") as here, one_store(f"{redis.url}/7") as there:
        await here.opt_out(ANN, 1.0)
        assert not await there.has_opted_out(ANN)
    async with one_store(redis.url) as store:
        assert await store.has_opted_out(ANN)


async def test_what_a_user_of_the_store_raises_comes_out_as_it_is(redis: RedisServer):
    with pytest.raises(KeyError, match="mine"):
        async with one_store(redis.url):
            raise KeyError("mine")
    with pytest.RaisesGroup(KeyError, KeyError, match="two of mine"):
        async with one_store(redis.url):
            raise ExceptionGroup("two of mine", [KeyError(1), KeyError(2)])
    with trio.CancelScope() as scope:
        async with one_store(redis.url):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_two_stores_in_one_program_close_for_themselves(redis: RedisServer):
    async with one_store(redis.url) as here:
        async with one_store(redis.url) as there:
            await there.opt_out(ANN, 1.0)
        assert await here.has_opted_out(ANN)


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize(
    "bad",
    ["redis://", "redis:///0", "redis://host:port", "redis://host/zero", "redis://host/-1", "redis://host/0?db=1"],
)
async def test_a_url_that_means_nothing_is_refused_in_a_sentence(bad: str):
    with pytest.raises(StoreDown) as down:
        async with open_store(bad):
            pass
    assert str(down.value) == (
        f"store.url = {bad!r} cannot be opened: it must be redis://[user:password@]host[:port][/db]"
    )


@pytest.mark.parametrize("user", ["", "ann"])
@pytest.mark.parametrize("password", ["secret", "se/cr:et@0", "se\ncret"])
@pytest.mark.parametrize("rest", ["127.0.0.1:{port}/0", "127.0.0.1:no"])
async def test_no_refusal_names_the_password(user: str, password: str, rest: str):
    with trio.fail_after(PATIENCE), pytest.raises(StoreDown) as down:
        async with open_store(f"redis://{user}:{password}@{rest.format(port=free_port())}"):
            pass
    error: BaseException | None = down.value
    while error is not None:
        assert not [part for part in ("se/cr", "secret", "cret", "et@0") if part in str(error)]
        error = error.__cause__
    assert f"redis://{user}@127.0.0.1" in str(down.value)


async def test_a_server_that_is_not_there_is_refused_in_a_sentence():
    url = f"redis://127.0.0.1:{free_port()}/0"
    with trio.fail_after(PATIENCE), pytest.raises(StoreDown) as down:
        async with open_store(url):
            pass
    assert str(down.value).startswith(f"store.url = {url!r} cannot be opened: ")
    assert "\n" not in str(down.value)


async def test_a_server_that_hangs_from_the_start_is_refused(frail_redis: RedisServer):
    frail_redis.freeze()
    with trio.fail_after(PATIENCE), pytest.raises(StoreDown, match="cannot be opened"):
        async with open_store(frail_redis.url):
            pass


async def test_something_else_than_redis_is_refused():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def babble(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, babble, listeners)
            with pytest.raises(StoreDown, match="cannot be opened"):
                async with open_store(f"redis://127.0.0.1:{port}"):
                    pass
            nursery.cancel_scope.cancel()


async def test_a_password_is_asked_for_and_may_hold_any_character(tmp_path: Path):
    need_redis()
    server = RedisServer(tmp_path, "--user", "ann", "on", ">p@ss/w:rd", "~*", "+@all")
    server.start()
    try:
        async with one_store(f"redis://ann:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}/0") as store:
            await store.opt_out(ANN, 1.0)
            assert await store.has_opted_out(ANN)
        with trio.fail_after(PATIENCE), pytest.raises(StoreDown, match="cannot be opened") as down:
            async with open_store(f"redis://ann:wrong@127.0.0.1:{server.port}/0"):
                pass
        assert "wrong@" not in str(down.value)
    finally:
        server.kill()


async def test_a_server_with_tls_is_believed_only_if_its_certificate_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    need_redis()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    place = free_port()
    files = [f"--tls-{what}-file" for what in ("cert", "key", "ca-cert")]
    options = [files[0], str(tmp_path / "server.pem"), files[1], str(tmp_path / "server.pem")]
    options += [files[2], str(tmp_path / "ca.pem"), "--tls-auth-clients", "no", "--tls-port", str(place)]
    server = RedisServer(tmp_path, *options)
    server.start()
    try:
        with trio.fail_after(PATIENCE), pytest.raises(StoreDown, match="cannot be opened"):
            async with open_store(f"rediss://127.0.0.1:{place}"):
                pass
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with two_stores(f"rediss://127.0.0.1:{place}") as (here, there):
            await here.opt_out(ANN, 1.0)
            assert await there.has_opted_out(ANN)
    finally:
        server.kill()
