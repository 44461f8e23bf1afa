"""What a session was sent."""

from actors.messages import Configure, ModelCommand
from tests.kit.model import FakeSession


def after_setup(session: FakeSession) -> list[ModelCommand]:
    """The commands that followed the setting up."""
    (first, *others) = [command for _, command in session.commands]
    assert isinstance(first, Configure)
    return others
