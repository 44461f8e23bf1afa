"""The log: one line an event, a call's identifiers on each of its lines, no telephone number and no secret on any."""

import errno
import fcntl
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import attrs
import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.messages import Disposition, Gravity, ModelTrouble
from tests.transport.wire_kit import AUTH_TOKEN, PUBLIC, House, house_in_memory, settings_for, sid, signature
from transport.log import LINES_AT_MOST, SIZE_AT_MOST, mask_phone, set_up
from transport.store import StoreDown

NUMBER = "+15550001234"
SECRET = "sk-proj-AbCdEf0123456789"
LOGGER = "triode.test"


@attrs.frozen
class Log:
    """What was written."""

    stream: io.StringIO

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
def begin() -> Iterator[Callable[..., Log]]:
    """Sets the log up, and back when the test is over."""
    root, quiet = logging.getLogger(), logging.getLogger("httpx2")
    before = (root.handlers[:], root.level, quiet.level)

    def begin(log_format: str = "json", level: str = "info") -> Log:
        stream = io.StringIO()
        set_up(log_format, level, stream)
        return Log(stream)

    yield begin
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level, quiet.level = before


class Disk(io.StringIO):
    """What lines are written to, and it may be full."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_line_that_cannot_be_written_is_lost_and_harms_nobody(begin: Callable[..., Log]) -> None:
    begin()  # so that all is set back
    disk = Disk()
    set_up("json", "info", disk)
    disk.full = True
    structlog.get_logger(LOGGER).info("lost")  # in the middle of a call
    logging.getLogger(LOGGER).warning("lost too")
    disk.full = False
    structlog.get_logger(LOGGER).info("written")
    assert [line["event"] for line in Log(disk).lines] == ["written"]


both = pytest.mark.parametrize("log_format", ["json", "pretty"])


def raised(error: Exception) -> Exception:
    """`error` with a traceback."""
    try:
        raise error
    except Exception as caught:
        return caught


# ---------------------------------------------------------------- lines


def test_a_line_is_one_json_object_with_its_event_level_and_time(begin: Callable[..., Log]):
    log = begin()
    structlog.get_logger(LOGGER).warning("no_room", calls=3)
    (line,) = log.lines
    assert (line["event"], line["level"], line["calls"]) == ("no_room", "warning", 3)
    assert line["timestamp"].endswith("Z")


def test_the_lines_of_libraries_are_json_too(begin: Callable[..., Log]):
    log = begin()
    logging.getLogger("hypercorn.error").info("Running on %s", "http://127.0.0.1:8000")
    (line,) = log.lines
    assert (line["event"], line["level"]) == ("Running on http://127.0.0.1:8000", "info")


def test_text_of_several_lines_and_what_json_does_not_know_stay_on_one_line(begin: Callable[..., Log]):
    log = begin()
    structlog.get_logger(LOGGER).info("two\nlines", text="a\r\nb", kind=Disposition.DIAL, some={1, 2}, nothing=None)
    assert log.text.count("\n") == 1
    assert log.lines[0]["event"] == "two\nlines"


@both
def test_lines_below_the_level_are_not_written(begin: Callable[..., Log], log_format: str):
    log = begin(log_format, "warning")
    structlog.get_logger(LOGGER).info("not this")
    logging.getLogger("library").info("nor this")
    structlog.get_logger(LOGGER).warning("but_this")
    assert "this" in log.text
    assert log.text.count("\n") == 1


def test_libraries_do_not_debug_even_if_we_do(begin: Callable[..., Log]):
    log = begin(level="debug")
    structlog.get_logger(LOGGER).debug("ours")
    logging.getLogger("library").debug("theirs")
    logging.getLogger("httpx2").info("HTTP Request: POST https://api.twilio.com")
    assert [line["event"] for line in log.lines] == ["ours"]


def test_lines_for_people_have_no_colours_unless_a_person_looks(begin: Callable[..., Log]):
    log = begin("pretty")
    structlog.get_logger(LOGGER).info("call_began", call_sid="CA1")
    assert "\x1b" not in log.text
    assert "call_began" in log.text
    assert "call_sid=CA1" in log.text


def test_setting_the_log_up_twice_does_not_double_its_lines(begin: Callable[..., Log]):
    begin()
    log = begin()
    logging.getLogger("library").warning("once")
    structlog.get_logger(LOGGER).warning("once")
    assert len(log.lines) == 2


# ---------------------------------------------------------------- exceptions


def write_exception(error: Exception) -> None:
    try:
        raise error
    except Exception:
        structlog.get_logger(LOGGER).exception("bug")


WAYS = {
    "inside an except": write_exception,
    "handed over": lambda error: structlog.get_logger(LOGGER).error("bug", exc_info=raised(error)),
    "never raised": lambda error: structlog.get_logger(LOGGER).error("bug", exc_info=error),
    "of a library": lambda error: logging.getLogger("library").error("bug", exc_info=raised(error)),
}


@pytest.fixture
def pipe(begin: Callable[..., Log]) -> Iterator[tuple[int, TextIO]]:
    """A pipe that holds little, and its end for writing."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    with open(writes, "w") as target:
        begin()  # what is set up is set back
        yield reads, target
    os.close(reads)


def test_a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_is_missing(pipe: tuple[int, TextIO]):
    reads, target = pipe
    set_up("json", "info", target)
    for number in range(3 * LINES_AT_MOST):  # this would never end
        structlog.get_logger(LOGGER).info("something", number=number)
    lines: list[dict[str, Any]] = []
    with open(reads, closefd=False) as reader:
        while not lines or lines[-1]["event"] != "log_lines_lost":
            lines.append(json.loads(reader.readline()))
        kept, lost = lines[:-1], lines[-1]
        assert [line["number"] for line in kept] == list(range(len(kept)))
        assert (lost["lines"], lost["level"]) == (3 * LINES_AT_MOST - len(kept), "warning")
        structlog.get_logger(LOGGER).info("again")
        assert json.loads(reader.readline())["event"] == "again"


def test_long_lines_that_nobody_reads_are_bounded_too(pipe: tuple[int, TextIO]):
    reads, target = pipe
    set_up("json", "info", target)
    long = "x" * (SIZE_AT_MOST // 10)
    for _ in range(30):
        structlog.get_logger(LOGGER).info(long)
    with open(reads, closefd=False) as reader:
        lines = [json.loads(reader.readline())]
        while lines[-1]["event"] == long:
            lines.append(json.loads(reader.readline()))
    assert len(lines) < 12 + 9  # those that are being written, and those that wait
    assert lines[-1]["lines"] == 30 - (len(lines) - 1)


def test_a_process_that_ends_has_written_all_its_lines_if_somebody_reads():
    program = (
        "import logging; from transport.log import set_up; set_up('json', 'info')\n"
        "for number in range(5000): logging.getLogger('x').info('line %d', number)"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == [f"line {n}" for n in range(5000)]


def test_a_process_whose_lines_nobody_reads_ends_nevertheless():
    program = (
        "import logging; from transport import log; log.FINISH = 0.1; log.set_up('json', 'info')\n"
        "for number in range(5000): logging.getLogger('x').info('line %d', number)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    assert process.wait(20) == 0
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_is_one_json_line_that_tells_what_it_was(begin: Callable[..., Log], way: str):
    log = begin()
    WAYS[way](ValueError("what\nhappened"))
    (line,) = log.lines
    assert line["event"] == "bug"
    assert "ValueError: what\nhappened" in line["exception"]
    assert way == "never raised" or "Traceback" in line["exception"]


def test_a_group_of_exceptions_is_one_json_line_with_all_of_them(begin: Callable[..., Log]):
    log = begin()
    inner = raised(KeyError("inner"))
    inner.__cause__ = OSError("cause")
    WAYS["handed over"](ExceptionGroup("several", [inner, ValueError("second")]))
    (line,) = log.lines
    assert all(part in line["exception"] for part in ("KeyError: 'inner'", "OSError: cause", "ValueError: second"))


@both
@pytest.mark.parametrize("way", WAYS)
def test_a_number_in_an_exception_is_masked(begin: Callable[..., Log], log_format: str, way: str):
    log = begin(log_format)
    WAYS[way](ValueError(f"cannot dial {NUMBER} now"))
    assert "cannot dial +***34 now" in log.text
    assert NUMBER not in log.text


# ---------------------------------------------------------------- numbers


NUMBERS: dict[str, Any] = {
    "a value": NUMBER,
    "a text": f"{NUMBER} is not reachable.",
    "the end of a text": f"dialling {NUMBER}",
    "a SIP address": f"sip:{NUMBER}@pbx.example.com",
    "a client": "client:15550001234",
    "the national form": "(555) 000-1234",
    "with dashes": "+1-555-000-1234",
    "two in a text": f"from {NUMBER} to +15550005678",
    "a mapping": {"From": NUMBER},
    "a list": ["x", NUMBER],
    "a tuple": (NUMBER,),
    "deep inside": {"form": [{"From": {"number": f"tel:{NUMBER}"}}]},
    "an exception": ValueError(f"{NUMBER} is not reachable"),
}


@both
@pytest.mark.parametrize("where", NUMBERS)
def test_a_telephone_number_is_masked_wherever_it_stands(begin: Callable[..., Log], log_format: str, where: str):
    log = begin(log_format)
    structlog.get_logger(LOGGER).info("something", value=NUMBERS[where])
    assert "***34" in log.text
    assert not any(part in log.text for part in ("0001234", "000-1234", "0005678"))


@both
def test_a_number_in_the_event_itself_is_masked(begin: Callable[..., Log], log_format: str):
    log = begin(log_format)
    structlog.get_logger(LOGGER).info(f"call from {NUMBER}")
    logging.getLogger("library").warning("cannot dial %s", NUMBER)
    assert log.text.count("***34") == 2
    assert NUMBER not in log.text


def test_masking_leaves_the_callers_values_as_they_were(begin: Callable[..., Log]):
    begin()
    form = {"From": NUMBER, "more": [NUMBER]}
    structlog.get_logger(LOGGER).info("something", form=form, caller=NUMBER)
    assert form == {"From": NUMBER, "more": [NUMBER]}


PLAIN = [
    "CA0123456789abcdef0123456789abcdef",
    "CA" + "1" * 32,
    "MZ" + "9" * 32,
    "127.0.0.1:50000",
    "2.5 s",
    "123456 ms",
    "item_ABC1234567890",
    "gpt-realtime-2.1",
    "anonymous",
    "",
]


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_number_stays_as_it_is(text: str):
    assert mask_phone(text) == text


SEPARATORS = st.text(" ,;:\"'<>[]@=\n\t/", min_size=1, max_size=3)


@given(st.integers(10**6, 10**15 - 1), st.booleans(), st.text("abc xyz.", max_size=9), SEPARATORS, SEPARATORS)
def test_a_number_between_any_words_loses_all_but_two_digits(
    digits: int, plus: bool, words: str, before: str, after: str
):
    number = f"{'+' * plus}{digits}"
    masked = mask_phone(f"{words}{before}{number}{after}{words}")
    assert masked == f"{words}{before}{'+' * plus}***{number[-2:]}{after}{words}"


@given(st.text(st.characters(exclude_categories=("Nd",))))
def test_a_text_without_digits_is_not_touched(text: str):
    assert mask_phone(text) == text


# ---------------------------------------------------------------- secrets


KEYS = ("token", "signature", "authorization", "Authorization", "auth_token", "api_key", "openai_api_key")
SECRETS: dict[str, dict[str, Any]] = {
    **{key: {key: SECRET} for key in KEYS},
    "headers": {"headers": {"Authorization": f"Bearer {SECRET}", "X-Twilio-Signature": SECRET}},
    "parameters of a start": {"start": {"customParameters": {"token": SECRET}}},
    "a text": {"text": f"sent Authorization: Bearer {SECRET}"},
    "settings": {
        "settings": attrs.evolve(settings_for(), secrets=attrs.evolve(settings_for().secrets, auth_token=SECRET))
    },
}


@both
@pytest.mark.parametrize("where", SECRETS)
def test_a_secret_is_never_written(begin: Callable[..., Log], log_format: str, where: str):
    log = begin(log_format)
    structlog.get_logger(LOGGER).info("something", **SECRETS[where])
    assert "something" in log.text
    assert SECRET not in log.text


# ---------------------------------------------------------------- the lines of a call


@attrs.frozen
class Ended:
    """A call that was logged."""

    call_sid: str
    stream_sid: str


async def post(house: House, path: str, **form: str) -> None:
    headers = {"X-Twilio-Signature": signature(PUBLIC + path, form)}
    answer = await house.app.test_client().post(path, form=form, headers=headers)
    assert answer.status_code < 300


async def store_away(*_: object) -> None:
    raise StoreDown("away")


async def broken(*_: object) -> None:
    raise RuntimeError(f"broken by {NUMBER}")


async def a_troubled_call(house: House) -> Ended:
    """A call in which everything happens that is logged."""
    call_sid = sid()
    await post(house, "/twilio/voice", CallSid=call_sid, From=NUMBER, To="+15550005678")
    phone = await house.call(call_sid)
    await phone.hear()
    await phone.say("rubbish")
    await trio.sleep(1)
    house.model.sessions[-1].say(ModelTrouble("server_error", f"cannot hear {NUMBER}", Gravity.BENIGN))
    await trio.sleep(1)
    await phone.stop()
    await phone.closing()
    await trio.sleep(5)
    await post(house, "/twilio/after", CallSid=call_sid, CallStatus="in-progress")
    await post(house, "/twilio/status", CallSid=call_sid, CallStatus="completed", SequenceNumber="3")
    return Ended(call_sid, phone.stream_sid)


OF_A_STREAM = {"call_began", "not_understood", "trouble", "call_ended", "store_failed"}
OF_A_CALL = {"call_answered", "stream_left"}


async def test_every_line_of_a_call_has_both_its_identifiers(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, begin: Callable[..., Log]
):
    log = begin(level="debug")
    calls: list[Ended] = []
    async with house_in_memory(monkeypatch) as house:
        house.store.keep_record = store_away

        async def call() -> None:
            calls.append(await a_troubled_call(house))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call)
        of_calls = list(log.lines)  # and not of the end of the process
    streams = {ended.stream_sid: ended.call_sid for ended in calls}
    for line in of_calls:
        if line["event"] in OF_A_STREAM:
            assert streams[line["stream_sid"]] == line["call_sid"], line
        else:
            assert line["event"] in OF_A_CALL, line
            assert line["call_sid"] in streams.values()
    for event in OF_A_STREAM - {"trouble"}:
        assert {line["stream_sid"] for line in log.named(event)} == set(streams), event
    assert log.named("trouble")


async def test_neither_a_number_nor_a_secret_is_in_the_log_of_a_call(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, begin: Callable[..., Log]
):
    log = begin(level="debug")
    async with house_in_memory(monkeypatch) as house:
        await a_troubled_call(house)
        secrets = house.settings.secrets
    assert log.named("trouble")[0]["text"].endswith("cannot hear +***34")
    assert log.named("call_answered")[0]["caller"] == "+***34"
    for hidden in (NUMBER, "+15550005678", AUTH_TOKEN, secrets.openai_api_key):
        assert hidden not in log.text
    assert not any(token in log.text for token in house.store.tokens)


async def test_a_bug_in_a_call_is_one_line_with_its_traceback_and_identifiers(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, begin: Callable[..., Log]
):
    log = begin()
    async with house_in_memory(monkeypatch) as house:
        phone = await house.call()
        await phone.hear()
        await trio.sleep(1)
        house.model.sessions[0].append = broken
        await phone.media()
        await phone.closing()
        await trio.sleep(5)
    (line,) = log.named("bug")
    assert (line["call_sid"], line["stream_sid"]) == (phone.call_sid, phone.stream_sid)
    assert "Traceback" in line["exception"]
    assert "RuntimeError: broken by +***34" in line["exception"]


async def test_what_the_socket_of_a_call_has_to_say_carries_its_identifiers(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, begin: Callable[..., Log]
):
    log = begin()
    async with house_in_memory(monkeypatch) as house:
        phone = await house.call()
        await phone.hear()

        async def deaf(max_bytes: object = None) -> bytes:
            await trio.sleep_forever()
            return b""

        phone.stream.receive_stream.receive_some = deaf  # nobody reads or answers at the other end from here on
        with trio.fail_after(300):
            while not house.store.of(phone.call_sid):  # noqa: ASYNC110 - it has no event, and time is virtual
                await trio.sleep(1)
        await trio.sleep(5)
    assert {"call_began", "call_ended"} <= {line["event"] for line in log.lines}
    for line in log.lines:
        assert (line.get("call_sid"), line.get("stream_sid")) == (phone.call_sid, phone.stream_sid), line


@pytest.mark.parametrize(
    ("path", "event", "form"),
    [
        ("/twilio/voice", "call_answered", {"From": NUMBER}),
        ("/twilio/after", "stream_left", {}),
        ("/twilio/dialed", "human_dialed", {"DialCallStatus": "busy"}),
        ("/twilio/ivr/choice", "menu_choice", {"Digits": "1"}),
        ("/twilio/stream-status", "stream_status", {"StreamSid": "MZ1", "StreamEvent": "stream-started"}),
    ],
)
async def test_what_a_webhook_logs_has_the_call_on_it(
    monkeypatch: pytest.MonkeyPatch, begin: Callable[..., Log], path: str, event: str, form: dict[str, str]
):
    log = begin()
    async with house_in_memory(monkeypatch) as house:
        await post(house, path, CallSid="CA1", **form)
    (line,) = log.named(event)
    assert line["call_sid"] == "CA1"
    assert line.get("stream_sid") == form.get("StreamSid")
