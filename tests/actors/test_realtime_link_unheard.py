"""What of a reply came too late to be heard: the model is not left to believe that it said it."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.messages import (
    CancelReply,
    DropItem,
    ModelCommand,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    SpeechStarted,
)
from tests.kit.calls import MANUAL, LinkDesk, ms
from tests.kit.model import FakeSession


def after_setup(session: FakeSession) -> list[ModelCommand]:
    """The commands that followed the setting up."""
    return [command for _, command in session.commands][1:]


async def test_an_item_that_began_when_nobody_wanted_the_reply_any_more_is_forgotten_when_that_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    session.push(ReplyBegan("r1"), ReplyAudio("r1", "heard", ms(100)), SpeechStarted("u1"))
    session.push(
        ReplyAudio("r1", "heard", ms(100)), ReplyAudio("r1", "late", ms(100)), ReplyAudio("r1", "late", ms(100))
    )
    await wait_all_tasks_blocked()
    assert after_setup(session) == [CancelReply("r1")]
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [CancelReply("r1"), DropItem("late")]
