"""The recorded prompts: the shipped ones all there and audible, an operator's own laid over them, and what is refused."""

from pathlib import Path

import pytest

import conf.prompts
from actors import mulaw
from conf.prompts import WORDS, load_prompt, load_prompts
from conf.settings import SettingsError

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


# ---------------------------------------------------------------- an operator's own


def clips(folder: Path, words: str, **audio: bytes) -> str:
    """A folder of clips, as a setting."""
    (folder / "words.toml").write_text(words, "utf-8")
    for name, content in audio.items():
        (folder / f"{name}.ulaw").write_bytes(content)
    return str(folder)


def refusal(folder: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load_prompts(folder)
    return str(refused.value)


def test_without_a_folder_there_are_the_shipped_prompts():
    assert load_prompts() == {name: load_prompt(name) for name in WORDS}


def test_a_clip_takes_the_place_of_the_shipped_one_and_the_others_stay(tmp_path: Path):
    prompts = load_prompts(clips(tmp_path, 'goodbye = "Tschüss!"', goodbye=b"\x11" * 4000))
    own = prompts["goodbye"]
    assert (own.words, own.audio, own.seconds, own.file) == ("Tschüss!", b"\x11" * 4000, 0.5, tmp_path / "goodbye.ulaw")
    assert {**prompts, "goodbye": load_prompt("goodbye")} == load_prompts()


def test_a_clip_of_another_name_is_a_further_prompt(tmp_path: Path):
    prompts = load_prompts(clips(tmp_path, 'closed_today = "We are\\n closed."', closed_today=b"\x11"))
    assert prompts.keys() == {*WORDS, "closed_today"}
    assert prompts["closed_today"].words == "We are closed."


def test_what_is_no_clip_is_left_alone(tmp_path: Path):
    (tmp_path / "README.txt").write_text("Ours.")
    (tmp_path / "greeting.wav").write_bytes(b"RIFF")
    assert load_prompts(clips(tmp_path, "")) == load_prompts()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "nowhere", tmp_path / "file"):
        said = refusal(str(folder))
        assert f"audio.prompts = '{folder}' is no folder" in said
        assert "NAME.ulaw" in said
        assert "words.toml" in said


def test_a_folder_without_words_is_refused(tmp_path: Path):
    (tmp_path / "greeting.ulaw").write_bytes(b"\x11")
    assert f"'{tmp_path / 'words.toml'}' cannot be read" in refusal(str(tmp_path))


SECOND = b"\x11" * 8000


@pytest.mark.parametrize(
    ("words", "audio", "says"),
    [
        ("", {"hello": SECOND}, ["hello.ulaw has no words", 'hello = "', "words.toml"]),
        ('hello = "Hi."', {}, ["hello in ", "words.toml", "has no clip", "hello.ulaw"]),
        ('hello = "Hi."', {"hello": b""}, ["hello.ulaw is empty", "raw 8 kHz µ-law"]),
        ('hello = "Hi."', {"hello": b"RIFF\x24\0\0\0WAVE" + SECOND}, ["hello.ulaw", "'RIFF'", "without a header"]),
        ('hello = "Hi."', {"hello": b"ID3" + SECOND}, ["hello.ulaw", "'ID3'", "without a header"]),
        ('hello = "Hi."', {"hello": 60 * SECOND + b"\x11"}, ["hello.ulaw is longer than 60 s"]),
        ("hello = 5", {"hello": SECOND}, ["hello = 5 in ", "words.toml", 'hello = "words"']),
        ('hello = " "', {"hello": SECOND}, ["hello = ' ' in ", "words.toml", 'hello = "words"']),
        ('[prompts]\nhello = "Hi."', {"hello": SECOND}, ["prompts = {", "words.toml", "allowed is a line"]),
        ("hello = ", {"hello": SECOND}, ["words.toml", "not TOML"]),
        ('"hello there" = "Hi."', {}, ["'hello there' in ", "cannot be the name", "small letters"]),
        ("", {"Hello": SECOND}, ["Hello.ulaw", "cannot be the name", "small letters"]),
        ('abcdefghijklmnopq = "Hi."', {}, ["'abcdefghijklmnopq'", "at most 16"]),
        ('told = "Hi."', {"told": SECOND}, ["'told'", "cannot be the name"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_used_is_refused_with_its_file_and_what_is_allowed(
    tmp_path: Path, words: str, audio: dict[str, bytes], says: list[str]
):
    said = refusal(clips(tmp_path, words, **audio))
    for part in says:
        assert part in said


def test_a_clip_may_be_a_minute_long(tmp_path: Path):
    assert load_prompts(clips(tmp_path, 'hello = "Hi."', hello=60 * SECOND))["hello"].seconds == 60


def test_a_clip_that_cannot_be_read_is_refused(tmp_path: Path):
    (tmp_path / "hello.ulaw").mkdir()
    assert "hello.ulaw cannot be read" in refusal(clips(tmp_path, 'hello = "Hi."'))
