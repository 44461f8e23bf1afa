"""People who are called: legs from the API, whispers, conferences, and documents that are replaced while they run."""

import math
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Dial, Gather, VoiceResponse

from tests.kit.patience import PATIENCE
from tests.transport.loopback.carrier_kit import ACCOUNT, MEDIA, PUBLIC, TOKEN, Post, Server, Stream, serving, xml
from tests.transport.loopback.rest_kit import ANN, CALLER, OURS, World, twilios, world
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp, Press, Step, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.human import Human, LegLog
from transport.loopback.network import Answer

EVENTS = ["initiated", "ringing", "answered", "completed"]
ROOM = "call-17"


def room(name: str = ROOM, action: str = "/after", **attributes: Any) -> str:
    """The document that enters a conference, as the twilio package writes it; without <Response>."""
    response = VoiceResponse()
    dial = Dial(action=action, method="POST") if action else Dial()
    dial.conference(name, **attributes)
    response.append(dial)
    return str(response).split("<Response>")[1].removesuffix("</Response>")


def asking(text: str = "Ann, a caller wants to book. Press 1 to take it.", action: str = "/taken") -> str:
    response = VoiceResponse()
    gather = Gather(input="dtmf", num_digits=1, timeout=5, action=action)
    gather.say(text)
    response.append(gather)
    response.say("Goodbye.")
    return str(response).split("<Response>")[1].removesuffix("</Response>")


TO_ROOM = room(end_conference_on_exit=True)
"""The caller's side: the conference ends when they leave."""
JOIN = room(action="", start_conference_on_enter=True, beep="false", participant_label="human")


def meeting(**others: Any) -> Server:
    """A caller goes into the room; whoever is called is asked, and joins with 1."""
    return serving(TO_ROOM, **{"brief": asking(), "taken": JOIN, "after": "<Hangup/>", **others})


async def place(w: World, *steps: Step, **how: Any) -> CarriedCall:
    with trio.fail_after(7200):
        return await w.carrier.place_call(
            steps, caller=CALLER, called=OURS, voice_path="/voice", status_path="/status", **how
        )


def statuses(posts: list[Post]) -> list[str]:
    return [post.form["CallStatus"] for post in posts]


def leg_of(w: World, sid: str) -> LegLog:
    (log,) = [log for log in w.carrier.legs if log.call_sid == sid]
    return log


# ---------------------------------------------------------------- legs that the API calls


async def test_a_leg_rings_is_answered_hears_its_document_and_ends(autojump_clock: MockClock) -> None:
    server = serving("", brief=f"<Say>{'a' * 50}</Say>")
    async with world(server, humans={ANN: Human(rings=6)}) as w:
        sid = await w.call(StatusCallback=f"{PUBLIC}/leg", StatusCallbackEvent=EVENTS)
        assert (await w.get(f"Calls/{sid}")).json()["status"] == "queued"
        await trio.sleep(3)
        assert (await w.get(f"Calls/{sid}")).json()["status"] == "ringing"
        await trio.sleep(4)
        assert (await w.get(f"Calls/{sid}")).json()["status"] == "in-progress"
        await trio.sleep(30)
        final = (await w.get(f"Calls/{sid}")).json()
        assert (final["status"], final["duration"], final["direction"]) == ("completed", "3", "outbound-api")
        log = leg_of(w, sid)
        assert (log.told, log.pressed, log.end, log.status) == (["a" * 50], "", "document", "completed")
        assert log.ended == pytest.approx(0.4 + 6 + 3)
        (asked,) = server.asked("/brief")
        expected = {"CallSid": sid, "CallStatus": "in-progress", "Direction": "outbound-api", "From": OURS, "To": ANN}
        assert expected.items() <= asked.form.items()
        assert RequestValidator(TOKEN).validate(asked.url, asked.form, asked.headers["X-Twilio-Signature"])
        posts = server.asked("/leg")
        assert statuses(posts) == ["initiated", "ringing", "in-progress", "completed"]
        assert [post.form["SequenceNumber"] for post in posts] == ["0", "1", "2", "3"]
        times = [parsedate_to_datetime(post.form["Timestamp"]) for post in posts]
        assert times == sorted(times)
        assert (times[3] - times[0]).total_seconds() == pytest.approx(9, abs=1)
        assert (posts[3].form["CallDuration"], posts[3].form["Duration"]) == ("3", "1")
        for post in posts:
            assert RequestValidator(TOKEN).validate(post.url, post.form, post.headers["X-Twilio-Signature"])


@pytest.mark.parametrize(
    ("human", "form", "status", "seconds"),
    [
        (Human("busy", rings=2), {}, "busy", 2.4),
        (Human("no-answer"), {"Timeout": "20"}, "no-answer", 20.4),
        (Human(rings=25), {"Timeout": "20"}, "no-answer", 20.4),
        (Human("failed"), {}, "failed", 0.4),
    ],
    ids=str,
)
async def test_a_leg_that_is_not_answered_asks_for_no_document(
    human: Human, form: dict[str, str], status: str, seconds: float, autojump_clock: MockClock
) -> None:
    server = serving("", brief="<Say>never</Say>")
    async with world(server, humans={ANN: human}) as w:
        sid = await w.call(StatusCallback=f"{PUBLIC}/leg", **form)
        await trio.sleep(60)
        log = leg_of(w, sid)
        assert (log.status, log.end, log.told, log.joined) == (status, status, [], [])
        assert log.ended == pytest.approx(seconds)
        assert server.asked("/brief") == []
        assert statuses(server.asked("/leg")) == [status]  # only the end is told unless more is asked for
        assert server.asked("/leg")[0].form["CallDuration"] == "0"
        assert (await w.get(f"Calls/{sid}")).json()["status"] == status


async def test_the_keys_are_pressed_after_the_first_prompt_and_only_then(autojump_clock: MockClock) -> None:
    server = serving("", brief=asking(), taken=asking("Again?", "/again"), again="<Say>twice</Say>")
    async with world(server, humans={ANN: Human(keys="1")}) as w:
        log = leg_of(w, await w.call())
        await trio.sleep(60)
        assert log.told == ["Ann, a caller wants to book. Press 1 to take it.", "Again?", "Goodbye."]
        assert (log.pressed, log.end) == ("1", "document")
        (taken,) = server.asked("/taken")
        assert taken.form["Digits"] == "1"
        assert taken.at == pytest.approx(0.4 + 4 + len(log.told[0]) * 0.06)
        assert server.asked("/again") == []


async def test_a_person_without_keys_lets_the_gather_pass(autojump_clock: MockClock) -> None:
    server = serving("", brief=asking())
    async with world(server, humans={ANN: Human()}) as w:
        log = leg_of(w, await w.call())
        await trio.sleep(60)
        assert (log.told[-1], log.pressed, server.asked("/taken")) == ("Goodbye.", "", [])


async def test_a_person_who_hangs_up_in_the_brief_hears_no_more(autojump_clock: MockClock) -> None:
    server = serving("", brief=f"<Say>{'a' * 100}</Say><Say>never</Say>")
    async with world(server, humans={ANN: Human(hangs_up_in_brief=True)}) as w:
        log = leg_of(w, await w.call())
        await trio.sleep(60)
        assert (log.told, log.end, log.status) == (["a" * 100], "human", "completed")
        assert log.ended == pytest.approx(0.4 + 4 + 3, abs=0.11)


async def test_a_document_may_come_in_the_request(autojump_clock: MockClock) -> None:
    server = serving("", next="<Say>two</Say>")
    async with world(server, humans={ANN: Human()}) as w:
        twiml = "<Response><Say>one</Say><Redirect>/next</Redirect></Response>"
        log = leg_of(w, await w.call(Url="", Twiml=twiml))
        await trio.sleep(60)
        assert (log.told, [post.path for post in server.posts]) == (["one", "two"], ["/next"])


async def test_a_number_nobody_has_does_what_dial_says(autojump_clock: MockClock) -> None:
    async with world(serving("", brief="<Say>Hi</Say>"), dial={"+15550000001": "busy"}) as w:
        logs = [leg_of(w, await w.call(To=number)) for number in ("+15550000001", "+15550000002")]
        await trio.sleep(60)
        assert [log.status for log in logs] == ["busy", "completed"]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"To": ""}, 21201),
        ({"To": "Ann"}, 21211),
        ({"From": ""}, 21213),
        ({"From": "5551234"}, 21212),
        ({"Url": ""}, 21205),
        ({"Url": "/brief"}, 21205),
        ({"Url": "", "Twiml": "<Response>" + "a" * 4000}, 20001),
        ({"StatusCallback": "ftp://a/b"}, 21609),
    ],
    ids=str,
)
async def test_a_call_that_cannot_be_made_is_refused(
    form: dict[str, str], code: int, autojump_clock: MockClock
) -> None:
    async with world() as w:
        answer = await w.post("Calls", **{"To": ANN, "From": OURS, "Url": f"{PUBLIC}/brief", **form})
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert (w.carrier.legs, (await w.get("Calls")).json()["calls"]) == ([], [])


async def test_a_leg_ends_with_the_carrier(autojump_clock: MockClock) -> None:
    async with world(serving("", brief='<Pause length="600"/>')) as w:
        sid = await w.call()
        await trio.sleep(20)
    log = leg_of(w, sid)
    assert (log.status, log.ended) == ("completed", 20)


async def test_without_the_carriers_run_no_leg_is_called(autojump_clock: MockClock) -> None:
    async with world() as w:
        pass
    with pytest.raises(RuntimeError, match="run"):
        w.carrier.call_from_api(ANN, OURS, (f"{PUBLIC}/brief", ""))
    assert w.carrier.legs == []


# ---------------------------------------------------------------- the end, and another document, from the API


@pytest.mark.parametrize(
    ("after", "status", "http", "end"),
    [
        (2, "canceled", 200, ("canceled", "canceled")),
        (2, "completed", 200, ("canceled", "canceled")),
        (10, "completed", 200, ("completed", "rest")),
        (10, "canceled", 400, ("completed", "document")),
        (90, "completed", 400, ("completed", "document")),
    ],
)
async def test_the_api_ends_a_leg(
    after: float, status: str, http: int, end: tuple[str, str], autojump_clock: MockClock
) -> None:
    server = serving("", brief='<Pause length="60"/>')
    async with world(server) as w:
        sid = await w.call(StatusCallback=f"{PUBLIC}/leg")
        await trio.sleep(after)
        answer = await w.post(f"Calls/{sid}", Status=status)
        assert answer.status_code == http
        if http == 400:
            assert answer.json()["code"] == 21220
        await trio.sleep(100)
        log = leg_of(w, sid)
        assert (log.status, log.end) == end
        assert log.ended == pytest.approx(after if http == 200 else 64.4)
        assert statuses(server.asked("/leg")) == [end[0]]


async def test_a_document_replaces_only_that_of_a_call_in_progress(autojump_clock: MockClock) -> None:
    async with world(serving("", brief='<Pause length="60"/>', other="<Say>other</Say>")) as w:
        sid = await w.call()
        assert (await w.post(f"Calls/{sid}", Url=f"{PUBLIC}/other")).json()["code"] == 21220
        await trio.sleep(10)
        assert (await w.post(f"Calls/{sid}", Url=f"{PUBLIC}/other")).json()["status"] == "in-progress"
        await trio.sleep(10)
        assert leg_of(w, sid).told == ["other"]
        assert (await w.post(f"Calls/{sid}", Url=f"{PUBLIC}/other")).json()["code"] == 21220
        assert (await w.post(f"Calls/{sid}", Status="busy")).json()["code"] == 20001


WHERE = {
    "say": f"<Say>{'a' * 1000}</Say>",
    "pause": '<Pause length="60"/>',
    "gather": '<Gather timeout="60" action="/key"><Say>Press.</Say></Gather>',
    "conference": room(),
    "conference without music": room(wait_url=""),
    "dial": f'<Dial action="/after" timeout="60"><Number>{ANN}</Number></Dial>',
    "record": '<Record action="/after"/>',
}


@pytest.mark.parametrize("where", WHERE)
async def test_a_callers_document_is_replaced_wherever_it_is(where: str, autojump_clock: MockClock) -> None:
    server = serving(WHERE[where], other="<Say>Somebody else</Say><Hangup/>", after="<Say>never</Say>")
    async with world(server, humans={ANN: Human("no-answer")}) as w:
        call = CarriedCall("")

        async def one() -> None:
            nonlocal call
            call = await place(w, Wait(300), call_sid="CA" + "3" * 32)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(2.5)
            answer = await w.post(f"Calls/CA{'3' * 32}", Url=f"{PUBLIC}/other")
            assert (answer.status_code, answer.json()["direction"]) == (200, "inbound")
        assert (call.words()[-1], call.end, call.errors) == ("Somebody else", "hangup", [])
        assert [post.at for post in server.asked("/other")] == [pytest.approx(2.5)]
        assert server.asked("/other")[0].form["CallStatus"] == "in-progress"
        assert server.asked("/after") == server.asked("/key") == []
        assert w.carrier.conferences.open == {}
        assert call.ended == pytest.approx(2.5 + len("Somebody else") * 0.06)


@pytest.mark.parametrize("asked", [{"Twiml": "<Response><Say>Somebody else</Say></Response>"}, {"Status": "completed"}])
async def test_a_media_stream_ends_with_a_stop_when_the_call_is_sent_elsewhere(
    asked: dict[str, str], autojump_clock: MockClock
) -> None:
    server = serving(
        f'<Connect action="/after"><Stream url="{MEDIA}" statusCallback="/streams"/></Connect>',
        after="<Say>never</Say>",
    )
    stopped: list[float] = []

    async def talk(stream: Stream) -> None:
        message = await stream.next("stop")
        stopped.append(trio.current_time())
        assert message["stop"] == {"accountSid": ACCOUNT, "callSid": "CA" + "4" * 32}
        await stream.to_the_end()

    server.talk = talk
    async with world(server) as w:
        call = CarriedCall("")

        async def one() -> None:
            nonlocal call
            call = await place(w, Wait(300), call_sid="CA" + "4" * 32)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(3.01)
            assert (await w.post(f"Calls/CA{'4' * 32}", **asked)).status_code == 200
        assert stopped == [pytest.approx(3.01)]
        (stream,) = server.streams
        assert stream.closed_by_carrier == "closed"
        numbers = [int(message["sequenceNumber"]) for _, message in stream.got if "sequenceNumber" in message]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [post.form["StreamEvent"] for post in server.asked("/streams")] == ["stream-started", "stream-stopped"]
        assert server.asked("/after") == []
        assert (call.words(), call.end) == ((["Somebody else"], "document") if "Twiml" in asked else ([], "rest"))
        assert statuses(server.asked("/status")) == ["in-progress", "completed"]
        assert call.streams[0].ended_by == "rest"


async def test_twilios_package_calls_redirects_and_hangs_up() -> None:
    server = serving("", brief='<Pause length="60"/>', other='<Pause length="60"/>')
    async with world(server, humans={ANN: Human(rings=0.1)}) as w:
        client = twilios(w.rest)

        def use() -> None:
            made = client.calls.create(
                to=ANN,
                from_=OURS,
                url=f"{PUBLIC}/brief",
                status_callback=f"{PUBLIC}/leg",
                status_callback_event=EVENTS,
                timeout=30,
            )
            assert (made.status, made.direction, made.queue_time) == ("queued", "outbound-api", "0")
            sid = str(made.sid)
            while client.calls(sid).fetch().status != "in-progress":
                pass
            assert client.calls(sid).update(url=f"{PUBLIC}/other", method="POST").status == "in-progress"
            client.calls(sid).update(status="completed")
            while client.calls(sid).fetch().status != "completed":
                pass
            assert [one.sid for one in client.calls.list(to=ANN, status="completed")] == [sid]
            assert client.calls(sid).fetch().end_time is not None

        with trio.fail_after(PATIENCE):
            await trio.to_thread.run_sync(use)
        assert w.rest.problems == []


# ---------------------------------------------------------------- conferences


async def test_a_caller_hears_music_until_somebody_joins_and_goes_on_when_they_leave(autojump_clock: MockClock) -> None:
    server = meeting()
    async with world(server, humans={ANN: Human(keys="1", talks=20)}) as w:
        sid = ""

        async def fetch_ann() -> None:
            nonlocal sid
            await trio.sleep(5)
            sid = await w.call()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch_ann)
            call = await place(w, AwaitAgent(3), AwaitQuiet(0.2, at_most=60), Wait(10), HangUp())
        log = leg_of(w, sid)
        (joined,) = log.joined
        assert call.joined == [joined]
        assert joined == pytest.approx(5 + 0.4 + 4 + len(log.told[0]) * 0.06, abs=0.01)
        assert call.music_seconds == pytest.approx(joined)
        assert (log.music_seconds, log.pressed) == (0, "1")
        assert call.ended == pytest.approx(joined + 10.2, abs=0.3)  # having noticed that the music is over
        assert call.end == "caller"
        await trio.sleep(1)
        # the caller's leaving ended the conference, and Ann's document was at its end
        assert (log.end, log.status) == ("document", "completed")
        assert log.ended == pytest.approx(call.ended)
        assert (server.asked("/after"), w.carrier.conferences.open) == ([], {})


async def test_when_the_other_side_ends_the_conference_the_dial_asks_its_action(autojump_clock: MockClock) -> None:
    server = meeting(taken=room(action="", end_conference_on_exit=True), after="<Say>They left.</Say><Hangup/>")
    async with world(server, humans={ANN: Human(keys="1", talks=20)}) as w:
        sid = await w.call()
        call = await place(w, Wait(900))
        log = leg_of(w, sid)
        assert (call.words(), call.end) == (["They left."], "hangup")
        assert (log.end, log.ended - log.joined[0]) == ("human", pytest.approx(20))
        (after,) = server.asked("/after")
        assert after.at == pytest.approx(log.ended)
        assert after.form["DialCallStatus"] == "answered"
        assert not {"DialCallSid", "DialCallDuration"} & after.form.keys()


async def test_without_an_action_the_document_goes_on(autojump_clock: MockClock) -> None:
    server = meeting(taken=room(action="", end_conference_on_exit=True))
    server.documents["/voice"] = [xml(room(action="") + "<Say>Still here?</Say>")]
    async with world(server, humans={ANN: Human(keys="1", talks=3)}) as w:
        await w.call()
        call = await place(w, Wait(900))
        assert (call.words(), call.end) == (["Still here?"], "document")


async def test_a_conference_waits_for_one_who_may_start_it(autojump_clock: MockClock) -> None:
    late = room(action="", start_conference_on_enter=False)
    server = serving(late, brief=late, second=room(action="", end_conference_on_exit=True))
    bob = "+15551110002"
    async with world(server, humans={ANN: Human(talks=60), bob: Human(talks=5)}) as w:
        ann = leg_of(w, await w.call())
        calls: list[CarriedCall] = []

        async def bob_later() -> None:
            await trio.sleep(30)
            await w.call(To=bob, Url=f"{PUBLIC}/second")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bob_later)
            calls.append(await place(w, Wait(900)))
        assert ann.joined == calls[0].joined == [pytest.approx(34.4)]
        assert calls[0].music_seconds == pytest.approx(34.4)
        assert ann.music_seconds == pytest.approx(30)
        assert calls[0].ended == pytest.approx(39.4)


async def test_conferences_of_other_names_do_not_meet_and_nobody_waits_for_ever(autojump_clock: MockClock) -> None:
    server = meeting(taken=room("another", action=""))
    async with world(server, humans={ANN: Human(keys="1", patience=30)}) as w:
        log = leg_of(w, await w.call())
        call = await place(w, Wait(100), HangUp())
        assert (call.joined, log.joined, log.end) == ([], [], "human")
        assert call.music_seconds == pytest.approx(100, abs=0.2)
        assert log.music_seconds == pytest.approx(30, abs=0.2)


async def test_a_name_is_free_again_when_its_conference_has_ended(autojump_clock: MockClock) -> None:
    async with world(meeting(), humans={ANN: Human(keys="1", talks=5)}) as w:
        for _ in range(2):
            await w.call()
            call = await place(w, Wait(30), HangUp())
            assert len(call.joined) == 1
        assert [len(log.joined) for log in w.carrier.legs] == [1, 1]


async def test_a_full_conference_lets_nobody_in(autojump_clock: MockClock) -> None:
    small = room(action="", max_participants=2)
    async with world(serving(small, brief=small + "<Say>full</Say>")) as w:
        first, second = [leg_of(w, await w.call(To=f"+1555111000{number}")) for number in (1, 2)]
        await trio.sleep(6)
        third = leg_of(w, await w.call(To="+15551110003"))
        await trio.sleep(10)
        assert ([len(log.joined) for log in (first, second, third)], third.told) == ([1, 1, 0], ["full"])
        assert "full" in third.errors[0]


@pytest.mark.parametrize(
    ("wait", "music", "asked"),
    [
        ("", 0, 0),
        ("/hold", 2 + 0.6, 1),
        ("/gone", 0, 1),
        ("/round", math.inf, 9),
    ],
)
async def test_what_is_heard_while_one_waits(wait: str, music: float, asked: int, autojump_clock: MockClock) -> None:
    server = serving(
        room(wait_url=wait),
        hold='<Play>/a.mp3</Play><Pause length="3"/><Say>One moment.</Say>',
        gone=Answer(404, "text/plain", "no"),
        round="<Play>/a.mp3</Play><Pause/><Redirect>/round</Redirect>",
    )
    async with world(server) as w:
        call = await place(w, Wait(25), HangUp())
        expected = 25 - 8 if math.isinf(music) else music + (0.06 if music else 0)
        assert call.music_seconds == pytest.approx(expected, abs=0.2)
        assert len(server.asked(wait or "/none")) == asked
        assert [error[:5] for error in call.errors] == (["11200"] if wait == "/gone" else [])


async def test_a_conference_tells_its_callback_what_it_was_asked_to(autojump_clock: MockClock) -> None:
    asked = {"status_callback": "/conference", "status_callback_event": "start end join leave"}
    server = meeting()
    server.documents["/voice"] = [xml(room(end_conference_on_exit=True, participant_label="caller", **asked))]
    server.documents["/taken"] = [xml(room(action="", status_callback="/never", status_callback_event="join"))]
    async with world(server, humans={ANN: Human(keys="1", talks=5)}) as w:
        sid = await w.call()
        call = await place(w, Wait(30), HangUp())
        await trio.sleep(1)
        posts = server.asked("/conference")
        told = [(post.form["StatusCallbackEvent"], post.form.get("CallSid", "")) for post in posts]
        assert told == [
            ("participant-join", call.call_sid),
            ("participant-join", sid),
            ("conference-start", sid),
            ("participant-leave", sid),
            ("participant-leave", call.call_sid),
            ("conference-end", ""),
        ]
        assert [post.form["SequenceNumber"] for post in posts] == list("012345")
        assert {post.form["FriendlyName"] for post in posts} == {ROOM}
        assert len({post.form["ConferenceSid"] for post in posts}) == 1
        assert posts[0].form["ConferenceSid"].startswith("CF")
        assert [post.form.get("ParticipantLabel") for post in posts] == ["caller", None, None, None, "caller", None]
        assert posts[-1].form["ReasonConferenceEnded"] == "participant-with-end-conference-on-exit-left"
        assert posts[-1].form["CallSidEndingConference"] == call.call_sid
        assert server.asked("/never") == []
        for post in posts:
            assert RequestValidator(TOKEN).validate(post.url, post.form, post.headers["X-Twilio-Signature"])


async def test_a_caller_who_gives_up_waiting_leaves_the_conference(autojump_clock: MockClock) -> None:
    server = meeting()
    async with world(server, humans={ANN: Human(keys="1", patience=10)}) as w:
        log = leg_of(w, await w.call())
        call = await place(w, Wait(2), HangUp())
        assert (call.end, call.joined) == ("caller", [])
        await trio.sleep(60)
        assert (log.joined, log.end) == ([], "human")
        assert w.carrier.conferences.open == {}


# ---------------------------------------------------------------- <Dial><Number>


def dialling(whisper: str = "", **attributes: Any) -> str:
    response = VoiceResponse()
    dial = Dial(action="/dialed", timeout=20)
    dial.number(ANN, **({"url": whisper} if whisper else {}), **attributes)
    response.append(dial)
    return str(response).split("<Response>")[1].removesuffix("</Response>")


@pytest.mark.parametrize(
    ("human", "status", "duration", "seconds"),
    [
        (Human(rings=3, talks=12), "completed", "12", 15.4),
        (Human("busy", rings=1), "busy", None, 1.4),
        (Human("no-answer"), "no-answer", None, 20.4),
        (Human(rings=21), "no-answer", None, 20.4),
        (Human("failed"), "failed", None, 0.4),
    ],
    ids=str,
)
async def test_a_person_who_is_dialled_does_as_they_do(
    human: Human, status: str, duration: str | None, seconds: float, autojump_clock: MockClock
) -> None:
    server = serving(dialling(), dialed="<Hangup/>")
    async with world(server, humans={ANN: human}) as w:
        call = await place(w, Wait(100))
        (dialed,) = server.asked("/dialed")
        assert (dialed.form["DialCallStatus"], dialed.form.get("DialCallDuration")) == (status, duration)
        assert dialed.form["DialBridged"] == str(status == "completed").lower()
        assert dialed.at == pytest.approx(seconds)
        (log,) = w.carrier.legs
        assert dialed.form["DialCallSid"] == log.call_sid
        assert (log.status, log.direction, log.sender) == (status, "outbound-dial", CALLER)
        assert log.joined == call.joined == ([pytest.approx(3.4)] if duration else [])


async def test_a_whisper_is_heard_by_the_called_person_before_the_two_are_connected(autojump_clock: MockClock) -> None:
    server = serving(dialling("/brief"), brief=asking(), taken="<Say>Connecting.</Say>", dialed="<Hangup/>")
    async with world(server, humans={ANN: Human(keys="1", talks=7)}) as w:
        call = await place(w, Wait(100))
        (log,) = w.carrier.legs
        assert (log.told, log.end) == (["Ann, a caller wants to book. Press 1 to take it.", "Connecting."], "human")
        assert log.joined == [pytest.approx(4.4 + sum(map(len, log.told)) * 0.06)]
        assert call.words() == []
        (brief,), (dialed,) = server.asked("/brief"), server.asked("/dialed")
        expected = {
            "CallSid": log.call_sid,
            "ParentCallSid": call.call_sid,
            "Direction": "outbound-dial",
            "CallStatus": "in-progress",
            "To": ANN,
        }
        assert expected.items() <= brief.form.items()
        assert dialed.form["DialCallDuration"] == "7"


@pytest.mark.parametrize(
    ("human", "brief"),
    [
        (Human(hangs_up_in_brief=True), asking()),
        (Human(), "<Say>No.</Say><Hangup/>"),
        (Human(), Answer(500, "text/plain", "broken")),
    ],
    ids=["hangs up", "is hung up on", "no document"],
)
async def test_a_person_who_is_lost_in_the_whisper_is_never_connected(
    human: Human, brief: Any, autojump_clock: MockClock
) -> None:
    server = serving(dialling("/brief"), brief=brief, dialed="<Hangup/>")
    async with world(server, humans={ANN: human}) as w:
        call = await place(w, Wait(100))
        (dialed,) = server.asked("/dialed")
        assert (dialed.form["DialCallStatus"], dialed.form["DialBridged"]) == ("no-answer", "false")
        assert w.carrier.legs[0].joined == call.joined == []


@pytest.mark.parametrize("after", [2, 6, 12], ids=["ringing", "in the whisper", "connected"])
async def test_a_caller_who_leaves_takes_the_dialled_leg_along(after: float, autojump_clock: MockClock) -> None:
    attributes = {"status_callback": "/leg", "status_callback_event": " ".join(EVENTS)}
    server = serving(dialling("/brief", **attributes), brief=f"<Say>{'a' * 100}</Say>", dialed="<Hangup/>")
    async with world(server, humans={ANN: Human()}) as w:
        call = await place(w, Wait(after), HangUp())
        await trio.sleep(1)
        (log,) = w.carrier.legs
        assert (call.end, log.end, log.ended) == ("caller", "parent", pytest.approx(after))
        assert server.asked("/dialed") == []
        assert statuses(server.asked("/leg"))[-1] == ("canceled" if after == 2 else "completed")
        assert len(server.asked("/leg")) == (3 if after == 2 else 4)


async def test_the_api_ends_a_dialled_leg_that_is_connected(autojump_clock: MockClock) -> None:
    server = serving(dialling(), dialed="<Hangup/>")
    async with world(server, humans={ANN: Human(talks=100)}) as w:

        async def end() -> None:
            await trio.sleep(10)
            (log,) = w.carrier.legs
            assert (await w.post(f"Calls/{log.call_sid}", Status="completed")).status_code == 200

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            await place(w, Wait(500))
        assert server.asked("/dialed")[0].at == pytest.approx(10)
        assert server.asked("/dialed")[0].form["DialCallStatus"] == "completed"
        assert w.carrier.legs[0].end == "rest"


async def test_a_dialled_leg_ends_when_its_caller_is_sent_elsewhere(autojump_clock: MockClock) -> None:
    server = serving(dialling(), other="<Say>Sorry.</Say>")
    async with world(server, humans={ANN: Human(talks=100)}) as w:

        async def redirect() -> None:
            await trio.sleep(10)
            await w.post(f"Calls/CA{'6' * 32}", Url=f"{PUBLIC}/other")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(redirect)
            call = await place(w, Wait(500), call_sid="CA" + "6" * 32)
        (log,) = w.carrier.legs
        assert (call.words(), log.status, log.ended) == (["Sorry."], "completed", pytest.approx(10))


@pytest.mark.parametrize("where", [room(), dialling()], ids=["conference", "dial"])
async def test_keys_pressed_where_nobody_asks_for_them_are_lost(where: str, autojump_clock: MockClock) -> None:
    ask = '<Gather action="/key" numDigits="1"><Say>Press.</Say></Gather>'
    server = serving(where, brief=room(action="", end_conference_on_exit=True), after=ask, dialed=ask)
    async with world(server, humans={ANN: Human(talks=5)}) as w:
        if "Conference" in where:
            await w.call()
        call = await place(w, Wait(1), Press("12"), Wait(100))
        assert (len(call.joined), call.words(), call.pressed, call.end) == (1, ["Press."], "", "document")
        assert server.asked("/key") == []
