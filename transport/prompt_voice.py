"""`triode prompts render`: clips from words, spoken by whatever voice this machine has, in the telephone's form.

An engine writes a WAV file. Its sound is mixed to one channel, brought to 8 kHz, cut to what can be heard, made as loud as a
telephone takes, and written down as µ-law.
"""

import array
import json
import math
import operator
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from actors import mulaw
from conf.prompts import BYTES_A_SECOND, SECONDS_AT_MOST, WORDS_FILE, Prompt, read_words

ENGINE_SECONDS = 120
"""Within which an engine must have spoken one clip."""
STDERR_AT_MOST = 500
"""Characters of an engine's complaint that are passed on: the last ones."""
PEAK = 22_742
"""The loudest sample of a clip: 3 dB below the loudest that µ-law has, as the shipped ones."""
NOTHING = 100
"""A sound without any sample louder than this one is silence."""
SILENT = 0.01
"""Samples below this part of the loudest one count as silence at either end; of that `MARGIN` samples (50 ms) stay."""
MARGIN = 50 * mulaw.BYTES_PER_MS
EDGE = 0.4625
"""The filter lets half through here, as a part of the lower rate: 3.7 kHz of 8, with all of the telephone's 3.4 below."""
REACH = 22
"""Samples of the lower rate on either side that the filter looks at: from 3.4 to 4 kHz it falls by more than 50 dB."""


class CannotRender(Exception):
    """Clips that cannot be made; the text is a sentence for people."""


@attrs.frozen
class Engine:
    """A program that speaks: its arguments, and those that choose its voice. It gets the words as standard input too."""

    arguments: tuple[str, ...]
    voice: tuple[str, ...]


_ESPEAK = Engine(("-w", "{wav}", "-b", "1", "-f", "{file}"), ("-v", "{voice}"))
ENGINES = {
    "espeak-ng": _ESPEAK,
    "espeak": _ESPEAK,
    "piper": Engine(("-f", "{wav}"), ("-m", "{voice}")),
    "say": Engine(
        ("-o", "{wav}", "--file-format=WAVE", "--data-format=LEI16@22050", "-f", "{file}"), ("-v", "{voice}")
    ),
    "flite": Engine(("-o", "{wav}", "-f", "{file}"), ("-voice", "{voice}")),
    "pico2wave": Engine(("-w", "{wav}", "--", "{words}"), ("-l", "{voice}")),
}
"""By the name of the program, in the order in which they are looked for."""
MODEL_SUFFIX = ".onnx"
"""A voice that ends so is a model of piper's, and piper has no other."""


def render(words: Mapping[str, str], out: Path, *, voice: str, engine: str, force: bool) -> list[Prompt]:
    """Makes a clip in folder `out` for each of `words`, and adds them to the words there; nothing, if one of them fails.

    `engine`: empty for the first that is found. Raises CannotRender; SettingsError for a bad file of words in `out`.
    """
    clips = {name: out / f"{name}.ulaw" for name in words}
    there = [str(clip) for clip in clips.values() if clip.exists()]
    if there and not force:
        raise CannotRender(f"{', '.join(there)}: there already; --force overwrites.")
    file = out / WORDS_FILE
    known = read_words(file) if file.exists() else {}
    program = find_engine(engine, voice)
    made = [Prompt(name, text, _spoken(program, name, text, voice), clips[name]) for name, text in words.items()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for prompt in made:
            prompt.file.write_bytes(prompt.audio)
        if known != (all_words := {**known, **words}):
            file.write_text(_toml(all_words), "utf-8")
    except OSError as error:
        raise CannotRender(f"{error.filename} cannot be written: {error.strerror}.") from error
    return made


def find_engine(wanted: str, voice: str) -> Path:
    """The program of engine `wanted`, or of the first one at hand that can speak with `voice`. Raises CannotRender."""
    if wanted and wanted not in ENGINES:
        raise CannotRender(f"--engine {wanted} is none that is known here: allowed are {', '.join(ENGINES)}.")
    model = voice.endswith(MODEL_SUFFIX)
    names = (wanted,) if wanted else tuple(name for name in ENGINES if (name == "piper") == model)
    for name in names:
        if path := shutil.which(name):
            if name == "piper" and not voice:
                raise CannotRender(f"piper speaks with a model: give one as --voice MODEL{MODEL_SUFFIX}.")
            return Path(path)
    if len(names) == 1:
        raise CannotRender(f"{names[0]} is not installed, or not on the PATH.")
    raise CannotRender(
        f"There is no voice on this machine: install espeak-ng (a package of that name for Linux and Homebrew), or one of "
        f"{', '.join(names[1:])}, or piper and give it --voice MODEL{MODEL_SUFFIX}."
    )


def _spoken(program: Path, name: str, words: str, voice: str) -> bytes:
    engine = ENGINES[program.name]
    with tempfile.TemporaryDirectory(prefix="triode-voice-") as folder:
        wav, file = Path(folder, "said.wav"), Path(folder, "words.txt")
        file.write_text(f"{words}\n", "utf-8")
        given = {"wav": wav, "file": file, "words": words, "voice": voice}
        chosen = (*(engine.voice if voice else ()), *engine.arguments)
        _run([str(program), *(argument.format_map(given) for argument in chosen)], file)
        audio = telephone(*_read(wav, program.name), name)
    if len(audio) > SECONDS_AT_MOST * BYTES_A_SECOND:
        raise CannotRender(f"{name} takes {len(audio) / BYTES_A_SECOND:.0f} s to say: at most {SECONDS_AT_MOST} s.")
    return audio


def _run(command: list[str], file: Path) -> None:
    name = Path(command[0]).name
    try:
        with file.open("rb") as words:
            ran = subprocess.run(
                command,
                stdin=words,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=ENGINE_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise CannotRender(f"{name} did not speak within {ENGINE_SECONDS} s.") from None
    except OSError as error:
        raise CannotRender(f"{name} cannot be run: {error.strerror}.") from error
    if ran.returncode:
        said = " ".join(ran.stderr.decode("utf-8", "replace").split())[-STDERR_AT_MOST:]
        raise CannotRender(f"{name} failed with status {ran.returncode}: {said or 'it does not say why'}")


def _read(wav: Path, engine: str) -> tuple[list[float], int]:
    """The samples of a WAV file, its channels mixed, and how many there are a second."""
    try:
        with wave.open(str(wav), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise CannotRender(f"{engine} wrote no WAV file, and does not say why.") from None
    except (OSError, EOFError, wave.Error) as error:
        raise CannotRender(
            f"{engine} wrote a WAV file that cannot be read: {str(error) or 'it ends too early'}."
        ) from error
    if width != 2 or rate < 1:
        raise CannotRender(f"{engine} wrote samples of {8 * width} bits, {rate} a second: they must have 16.")
    samples = array.array("h", data[: len(data) // (2 * channels) * 2 * channels])
    if sys.byteorder == "big":
        samples.byteswap()
    if channels == 1:
        return list(map(float, samples)), rate
    return [sum(frame) / channels for frame in zip(*(samples[c::channels] for c in range(channels)), strict=True)], rate


def _toml(words: Mapping[str, str]) -> str:
    """JSON's texts are TOML's, but for one character."""
    lines = [f"{name} = {json.dumps(text, ensure_ascii=False)}\n" for name, text in words.items()]
    return "".join(lines).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------- sound


def telephone(samples: Sequence[float], rate: int, name: str) -> bytes:
    """The sound `samples`, `rate` a second, as a clip in µ-law. Raises CannotRender if there is nothing to be heard."""
    sound = resample(samples, rate)
    loudest = max(map(abs, sound), default=0.0)
    if loudest < NOTHING:
        raise CannotRender(f"The voice says nothing for {name}: it may not know the letters of these words.")
    audible = [index for index, sample in enumerate(sound) if abs(sample) > SILENT * loudest]
    piece = sound[max(0, audible[0] - MARGIN) : audible[-1] + 1 + MARGIN]
    return mulaw.encode(round(sample * PEAK / loudest) for sample in piece)


def resample(samples: Sequence[float], rate: int) -> list[float]:
    """`samples`, `rate` a second, as 8000 a second: what lies above the telephone's band is taken out, not folded into it."""
    if rate == BYTES_A_SECOND:
        return list(samples)
    shared = math.gcd(rate, BYTES_A_SECOND)
    step, phases = rate // shared, BYTES_A_SECOND // shared
    lower = min(rate, BYTES_A_SECOND)
    reach = math.ceil(REACH * rate / lower)
    around = [0.0] * reach
    padded = [*around, *samples, *around]
    kernels: dict[int, list[float]] = {}
    sound: list[float] = []
    for number in range(math.ceil(len(samples) * phases / step)):
        base, phase = divmod(number * step, phases)
        if phase not in kernels:
            kernels[phase] = _kernel(phase / phases, reach, 2 * EDGE * lower / rate)
        heard = padded[base + 1 : base + 1 + 2 * reach]
        sound.append(sum(map(operator.mul, heard, kernels[phase])))
    return sound


def _kernel(after: float, reach: int, width: float) -> list[float]:
    """A low-pass filter (a sinc in a Hamming window) around a point that is `after` the middle sample but one."""
    weights: list[float] = []
    for tap in range(1 - reach, reach + 1):
        far = tap - after
        turn = math.pi * width * far
        window = 0.54 + 0.46 * math.cos(math.pi * far / reach)
        weights.append(window * (math.sin(turn) / turn if turn else 1.0))
    whole = sum(weights)
    return [weight / whole for weight in weights]
