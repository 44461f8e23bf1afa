"""A whole call of a flow that greets with a clip of the operator's own, and says another one."""

from pathlib import Path

import attrs
import pytest

from conf.settings import SettingsError
from transport.loopback.scenario import Scenario, default_settings
from transport.loopback.speech import murmur

FLOW = """
name = "desk"
instructions = "Be kind."
greeting = "welcome"
[[shared]]
when.key = "5"
effects = [{ do = "say", prompt = "closed_today" }]
"""
WORDS = {"welcome": "Welcome to the barber.", "closed_today": "We are closed today."}


def a_call(folder: Path, prompts: str) -> Scenario:
    flow = folder / "desk.toml"
    flow.write_text(FLOW, "utf-8")
    settings = default_settings(str(flow))
    return Scenario(str(flow), settings=attrs.evolve(settings, audio=attrs.evolve(settings.audio, prompts=prompts)))


def test_callers_hear_the_clips_of_the_operator(tmp_path: Path) -> None:
    for name, words in WORDS.items():
        (tmp_path / f"{name}.ulaw").write_bytes(murmur(words))
    (tmp_path / "words.toml").write_text("".join(f'{name} = "{words}"\n' for name, words in WORDS.items()), "utf-8")
    call = a_call(tmp_path, str(tmp_path))
    call.expect_heard(WORDS["welcome"])
    call.caller_presses("5")
    call.expect_heard(WORDS["closed_today"])
    call.caller_hangs_up()
    heard = b"".join(piece.audio for piece in call.run().call.heard())
    assert heard.startswith(murmur(WORDS["welcome"]))
    assert murmur(WORDS["closed_today"]) in heard


def test_a_server_does_not_start_without_the_clips_that_its_flow_uses(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as refused:
        a_call(tmp_path, "").run()
    assert refused.group_contains(SettingsError, match="greeting = 'welcome'.*closed_today")


def test_a_server_does_not_start_with_clips_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as refused:
        a_call(tmp_path, str(tmp_path / "nowhere")).run()
    assert refused.group_contains(SettingsError, match="audio.prompts = .*nowhere' is no folder")
