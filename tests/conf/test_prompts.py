"""The recorded prompts: all there, all audible, all of a sensible length."""

from pathlib import Path

import pytest

import conf.prompts
from actors import mulaw
from conf.prompts import WORDS, load_prompt

FOLDER = Path(conf.prompts.__file__).parent


def test_there_is_one_file_for_each_prompt_and_no_other():
    assert {file.stem for file in FOLDER.glob("*.ulaw")} == set(WORDS)


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_prompt_has_words_and_audio(name: str):
    prompt = load_prompt(name)
    assert prompt.name == name
    assert prompt.words == WORDS[name]
    assert prompt.audio == (FOLDER / f"{name}.ulaw").read_bytes()


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_prompt_can_be_heard_and_has_no_header(name: str):
    audio = load_prompt(name).audio
    assert audio[:4] not in {b"RIFF", b".snd", b"OggS", b"fLaC"}
    assert audio[:3] != b"ID3"
    assert mulaw.loudness(audio) >= 3


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_prompt_is_as_long_as_its_words(name: str):
    prompt = load_prompt(name)
    characters_a_second = len(prompt.words) / (len(prompt.audio) / 8000)
    assert 6 < characters_a_second < 30


def test_an_unknown_prompt_is_a_key_error():
    with pytest.raises(KeyError):
        load_prompt("farewell")


def test_the_audio_of_a_prompt_is_not_in_its_repr():
    assert "audio" not in repr(load_prompt("goodbye"))
