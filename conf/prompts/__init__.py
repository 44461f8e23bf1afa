"""Recorded prompts: 8 kHz µ-law without a header, one file a prompt, and the words each one says.

The shipped ones are here. An operator's own are in the folder that `audio.prompts` names: `NAME.ulaw` for each, and
`words.toml` with a line `NAME = "words"` for each. One named like a shipped prompt takes its place; any other is a further
prompt, which flows may greet with and say. `triode prompts render` makes such a folder out of words, and
`sox new.wav -t raw -r 8000 -c 1 -e mu-law -b 8 NAME.ulaw` a clip out of a recording.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

from conf.settings import SettingsError

WORDS = {
    "greeting": "Hello, you have reached the front desk. I am an AI assistant. How can I help you?",
    "goodbye": "Thank you for calling. Goodbye.",
    "transfer": "One moment please, I am connecting you with a colleague.",
    "one_moment": "One moment, please.",
    "still_here": "I am still working on it. Thank you for your patience.",
    "apology": "I am sorry, I am having trouble on my side. One moment please.",
    "resume": "Sorry, we were cut off for a moment. Please go on.",
    "reconnected": "Sorry, we were cut off for a moment.",
    "welcome_back": "Hello again. We were cut off last time, so let us go on from there.",
    "not_taken": "I am sorry, nobody could take your call. I am back with you.",
    "message": "I am sorry, there is nobody I can connect you with. Please leave a message after the tone.",
}

WORDS_FILE = "words.toml"
SECONDS_AT_MOST = 60
BYTES_A_SECOND = 8000
_NAME = re.compile(r"(?!told$)[a-z0-9_]{1,16}")
"""Names become part of items' names: a model takes 32 characters, and items that tell what was said are called "told"."""
_HEADERS = (b"RIFF", b"RIFX", b"FORM", b".snd", b"OggS", b"fLaC", b"ID3")
"""How files begin that are not raw: WAV, AIFF, AU, Ogg, FLAC, MP3."""


@attrs.frozen
class Prompt:
    """A recorded prompt: its name, its words, its audio in µ-law bytes, and the file that it was read from."""

    name: str
    words: str
    audio: bytes = attrs.field(repr=False)
    file: Path = attrs.field(repr=False)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.audio) / BYTES_A_SECOND


Prompts = Mapping[str, Prompt]
"""All that a server can play, by name."""


def load_prompts(folder: str = "") -> Prompts:
    """The shipped prompts, and over them the clips of `folder`, if one is given. Raises SettingsError for a bad one."""
    return {name: load_prompt(name) for name in WORDS} | (_own(Path(folder)) if folder else {})


def load_prompt(name: str) -> Prompt:
    """The shipped prompt `name`; KeyError if there is none."""
    file = Path(__file__).with_name(f"{name}.ulaw")
    return Prompt(name, WORDS[name], file.read_bytes(), file)


def read_words(file: Path) -> dict[str, str]:
    """Names of prompts and their words, as one table of a TOML file. Raises SettingsError for anything else."""
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The words of prompts {str(file)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The words of prompts {file} are not TOML: {error}.") from error
    words: dict[str, str] = {}
    for name, value in document.items():
        _check_name(name, f"{name!r} in {file}")
        if not isinstance(value, str) or not value.strip():
            raise SettingsError(f'{name} = {value!r} in {file} cannot be used: allowed is a line {name} = "words".')
        words[name] = " ".join(value.split())
    return words


def _own(folder: Path) -> dict[str, Prompt]:
    if not folder.is_dir():
        raise SettingsError(
            f"audio.prompts = {str(folder)!r} is no folder: allowed is one with clips (NAME.ulaw) and their {WORDS_FILE}."
        )
    file = folder / WORDS_FILE
    words = read_words(file)
    clips = {clip.stem: clip for clip in sorted(folder.glob("*.ulaw"))}
    for name, clip in clips.items():
        _check_name(name, f"The clip {clip}")
        if name not in words:
            raise SettingsError(f'The clip {clip} has no words: add a line {name} = "what it says" to {file}.')
    for name in words:
        if name not in clips:
            raise SettingsError(f"{name} in {file} has no clip: add {folder / name}.ulaw, or take its words out.")
    return {name: Prompt(name, words[name], _audio(clip), clip) for name, clip in clips.items()}


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        allowed = "at most 16 small letters, digits and underscores, and not 'told'"
        raise SettingsError(f"{what} cannot be the name of a prompt: allowed are {allowed}.")


def _audio(clip: Path) -> bytes:
    longest = SECONDS_AT_MOST * BYTES_A_SECOND
    try:
        with clip.open("rb") as file:
            audio = file.read(longest + 1)
    except OSError as error:
        raise SettingsError(f"The clip {clip} cannot be read: {error.strerror}.") from error
    raw = "allowed is raw 8 kHz µ-law, mono and without a header"
    if not audio:
        raise SettingsError(f"The clip {clip} is empty: {raw}.")
    if header := next((header for header in _HEADERS if audio.startswith(header)), None):
        raise SettingsError(f"The clip {clip} begins with {header.decode()!r}, so it has a header: {raw}.")
    if len(audio) > longest:
        raise SettingsError(
            f"The clip {clip} is longer than {SECONDS_AT_MOST} s: {raw}, of {SECONDS_AT_MOST} s at most."
        )
    return audio
