"""The settings of a server: every key with its type, default, bounds and meaning, and the loader that refuses bad ones.

Read from `triode.toml`; each key can be overridden by the environment variable `TRIODE_<SECTION>_<KEY>`. Secrets come
from the environment alone and are never written by `repr`.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs

Check = Callable[[Any], bool]


class SettingsError(ValueError):
    """A key or value that cannot be used; the text is one sentence naming the key, the value and what is allowed."""


def _setting(default: Any, allowed: str, check: Check, doc: str) -> Any:
    return attrs.field(default=default, metadata={"allowed": allowed, "check": check, "doc": doc})


def _number(default: float, low: float, high: float, doc: str) -> Any:
    """A number within bounds; an int default makes it a whole number."""
    kind = "a whole number" if isinstance(default, int) else "a number"
    return _setting(default, f"{kind} from {low:g} to {high:g}", lambda v: low <= v <= high, doc)


def _choice(default: str, choices: tuple[str, ...], doc: str) -> Any:
    return _setting(default, " or ".join(repr(c) for c in choices), lambda v: v in choices, doc)


def _text(default: str, doc: str, allowed: str = "a text", check: Check = lambda v: True) -> Any:
    return _setting(default, allowed, check, doc)


def _is_loopback(host: str | None) -> bool:
    return host in {"localhost", "127.0.0.1", "::1"}


def _is_public_url(value: str) -> bool:
    url = urlsplit(value)
    return url.scheme in {"http", "https"} and bool(url.hostname) and not url.query and not url.fragment


def _is_model_url(value: str) -> bool:
    url = urlsplit(value)
    secure = url.scheme == "wss" or (url.scheme == "ws" and _is_loopback(url.hostname))
    return secure and bool(url.hostname) and not url.fragment


def _is_phone(value: str) -> bool:
    digits = value[1:]
    return value == "" or (value.startswith("+") and digits.isascii() and digits.isdigit() and 7 <= len(digits) <= 15)


def _is_sender(value: str) -> bool:
    return _is_phone(value) or (value.startswith("MG") and value.isalnum() and len(value) == 34)


def _is_backend_url(value: str) -> bool:
    url = urlsplit(value)
    secure = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname))
    return value == "" or (secure and bool(url.hostname) and not url.fragment)


def _has_good_port(value: str) -> bool:
    try:
        return urlsplit(value).port != 0
    except ValueError:
        return False


def _is_store_url(value: str) -> bool:
    url = urlsplit(value)
    if url.scheme in {"redis", "rediss"}:
        return bool(url.hostname) and _has_good_port(value)
    path = value.removeprefix("sqlite:///")
    return path not in {value, "", ":memory:"}  # a database in memory would be another one in each thread


_MODEL_URL = "wss://host/path, or ws:// on a loopback address"


@attrs.frozen
class Server:
    """[server]: what the outside sees of this process."""

    public_url: str = _text(
        "http://127.0.0.1:8000",
        "Where Twilio reaches this server: scheme and host as Twilio was told them. Signatures are checked against it.",
        "http(s)://host[:port][/prefix] without a query",
        _is_public_url,
    )
    max_calls: int = _number(
        400, 0, 100_000, "Ceiling of calls in this process; above it a caller is told that all lines are busy."
    )
    max_lag_ms: float = _number(
        100.0,
        1,
        10_000,
        "Lag of the event loop, ms, above which no further call is taken: those that are up come first.",
    )
    held_ms: float = _number(
        100.0, 0, 10_000, "A step that holds the event loop for longer is logged with its stack, ms; 0: none is."
    )
    drain_seconds: float = _number(
        240.0,
        0,
        86_400,
        "After SIGTERM calls may go on this long, then their stream is moved. See conf/hypercorn.toml.",
    )
    log_format: str = _choice("json", ("json", "pretty"), "One JSON object a line, or coloured lines for people.")
    log_level: str = _choice("info", ("debug", "info", "warning", "error"), "Lines below this level are not written.")
    flight_folder: str = _text("", "Where recordings of calls for `triode replay` are written; empty: none are made.")
    flight_calls: str = _choice(
        "troubled", ("troubled", "all"), "Which calls are kept there: those in which something went wrong, or all."
    )


@attrs.frozen
class Twilio:
    """[twilio]: the phone side."""

    api_url: str = _text(
        "https://api.twilio.com", "Twilio's REST address (or a stand-in's).", "an http(s) URL", _is_public_url
    )
    token_seconds: float = _number(60.0, 5, 600, "How long the stream token of an answered call may wait to be used.")
    sms_from: str = _text(
        "",
        "Who text messages come from; empty: the number that was called.",
        "empty, +digits (E.164), or a messaging service MG…",
        _is_sender,
    )
    sms_a_day: int = _number(
        100,
        0,
        1000,
        "How many text messages one number is sent in 24 hours, whoever asks for them; 0: without a bound.",
    )


@attrs.frozen
class Model:
    """[model]: the realtime session."""

    url: str = _text("wss://api.openai.com/v1/realtime", "Where the model is.", _MODEL_URL, _is_model_url)
    failover_url: str = _text(
        "", "Tried when `url` cannot be had.", f"empty, or {_MODEL_URL}", lambda v: v == "" or _is_model_url(v)
    )
    name: str = _text("gpt-realtime-2.1", "The model's name.", "a name that is not empty", bool)
    voice: str = _choice(
        "marin",
        ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"),
        "The voice of the agent.",
    )
    reasoning: str = _choice(
        "low", ("", "minimal", "low", "medium", "high", "xhigh"), "Reasoning effort; empty for models without it."
    )
    max_output_tokens: int = _number(1024, 1, 4096, "Bound of one reply, speech and tool calls together.")
    transcription: str = _text("gpt-live-transcribe", "Model that writes down the caller's words; empty for none.")
    language: str = _text("en", "The language callers speak, as ISO 639-1; empty lets the model guess.")
    vad_threshold: float = _number(0.6, 0, 1, "How loud speech must be for the model's turn detection.")
    vad_prefix_ms: int = _number(300, 0, 2000, "Audio before the onset that counts as part of the turn, ms.")
    vad_silence_ms: int = _number(500, 100, 5000, "Silence that ends a caller's turn, ms.")
    connect_timeout: float = _number(4.0, 0.1, 60, "Seconds for TCP, TLS and the WebSocket handshake.")
    session_timeout: float = _number(3.0, 0.1, 60, "Seconds for each answer while the session is being set up.")
    replace_seconds: float = _number(
        8.0,
        0,
        60,
        "Seconds in which a lost session may be replaced inside the call, or a first one be had; 0: the keypad menu at once.",
    )
    append_ms: int = _number(
        20,
        20,
        100,
        "Caller audio in one message to the model, ms, in whole frames of 20: more costs time and spares work.",
    )
    standby: str = _choice(
        "off",
        ("off", "on"),
        "On: a second session is kept ready for every call, to take over at once (at `failover_url`, if there is one).",
    )


@attrs.frozen
class Call:
    """[call]: what every caller can rely on."""

    max_silence: float = _number(
        4.0, 0.5, 60, "Seconds a caller may wait in silence for the model before the keypad menu takes over."
    )
    max_seconds: float = _number(3600.0, 10, 14_400, "The longest call; the agent says goodbye then.")
    hold_back_seconds: float = _number(15.0, 1, 60, "Caller audio kept while there is no model session, seconds.")
    human_number: str = _text(
        "", "Number of the human the agent transfers to; empty for none.", "empty, or +digits (E.164)", _is_phone
    )
    transfer: str = _choice(
        "cold",
        ("cold", "warm"),
        "Cold: the human's phone rings and they are joined. Warm: they hear a summary and accept with a key first.",
    )
    barge_in: str = _choice(
        "undo",
        ("undo", "local", "model"),
        "Undo: a caller who is heard silences the agent, which goes on if it was a cough or an uh-huh. Local: it never goes "
        "on. Model: only the model says whether the caller speaks.",
    )
    overflow_number: str = _text(
        "",
        "Who takes callers for whom there is no line, when they wish it or have waited in vain; empty: `human_number`.",
        "empty, or +digits (E.164)",
        _is_phone,
    )
    queue_seconds: float = _number(
        120.0, 0, 3600, "How long a caller for whom there is no line may wait for one, seconds; 0: not at all."
    )
    resume_minutes: float = _number(
        10.0, 0, 1440, "A caller who was cut off and calls back within this time goes on where they were; 0: never."
    )


@attrs.frozen
class Audio:
    """[audio]: how the agent's speech is handed to Twilio."""

    frame_ms: int = _number(100, 20, 400, "Audio in one message to Twilio, ms, at most.")
    lead_ms: int = _number(300, 60, 2000, "How far ahead of playback frames are sent, ms.")
    mark_ms: int = _number(240, 100, 2000, "Audio between two marks, ms.")
    prompts: str = _text(
        "",
        "A folder of your own recorded prompts, laid over the shipped ones: NAME.ulaw and words.toml; empty for none.",
    )


@attrs.frozen
class Flow:
    """[flow]: what the agent is for."""

    path: str = _text(
        "", "The flow file (TOML or Python), or the name of a shipped flow; empty for the shipped `appointment`."
    )


@attrs.frozen
class Store:
    """[store]: where calls are recorded."""

    url: str = _text(
        "sqlite:///var/triode.db",
        "Where calls are kept; Redis when there is more than one host.",
        "sqlite:///path/to/file.db, or redis://host[:port][/db]",
        _is_store_url,
    )
    unwritten: str = _text(
        "var/unwritten",
        "A folder for what the store has not taken when a process ends; the next to start writes it. Empty: it is lost.",
    )
    keep_days: float = _number(
        90.0, 0, 36_500, "Calls older than this are deleted with all that was said in them; 0: kept for ever."
    )
    transcripts: str = _choice(
        "keep", ("keep", "drop"), "Drop: when a call is over what was said is not stored, only what was done."
    )


@attrs.frozen
class Crm:
    """[crm]: the operator's backend. Its secret comes from the environment: CRM_SECRET."""

    url: str = _text(
        "",
        "Where every finished call is posted as signed JSON; empty for nowhere.",
        "empty, https://…, or http:// on a loopback address",
        _is_backend_url,
    )


@attrs.frozen
class Secrets:
    """Taken from the environment only."""

    account_sid: str = attrs.field(default="", repr=False)
    auth_token: str = attrs.field(default="", repr=False)
    openai_api_key: str = attrs.field(default="", repr=False)
    crm_secret: str = attrs.field(default="", repr=False)
    """Signs what is posted to the backend; needed only if there is one."""


_SECRETS = {
    "account_sid": "TWILIO_ACCOUNT_SID",
    "auth_token": "TWILIO_AUTH_TOKEN",
    "openai_api_key": "OPENAI_API_KEY",
}


@attrs.frozen
class Settings:
    """Everything a server is started with."""

    server: Server = attrs.field(factory=Server)
    twilio: Twilio = attrs.field(factory=Twilio)
    model: Model = attrs.field(factory=Model)
    call: Call = attrs.field(factory=Call)
    audio: Audio = attrs.field(factory=Audio)
    flow: Flow = attrs.field(factory=Flow)
    store: Store = attrs.field(factory=Store)
    crm: Crm = attrs.field(factory=Crm)
    secrets: Secrets = attrs.field(factory=Secrets)


SECTIONS: dict[str, type[Any]] = {
    "server": Server,
    "twilio": Twilio,
    "model": Model,
    "call": Call,
    "audio": Audio,
    "flow": Flow,
    "store": Store,
    "crm": Crm,
}

_SECRET_NAME = re.compile(r"(?:^|_)(?:token|secret|password|key|sid)$", re.IGNORECASE)
_PASSWORD = re.compile(r"(//[^:@/]*):.*@", re.DOTALL)

NOT_SETTINGS = {"TRIODE_CONFIG"}
"""Variables of ours that name no key: where the file is."""


def config_path(environ: Mapping[str, str]) -> Path:
    """The settings file: `TRIODE_CONFIG`, else conf/triode.toml of the working directory, else the shipped one."""
    if chosen := environ.get("TRIODE_CONFIG"):
        return Path(chosen)
    local = Path("conf/triode.toml")
    return local if local.is_file() else Path(__file__).with_name("triode.toml")


def read_document(path: Path) -> dict[str, Any]:
    """What a settings file says. Raises SettingsError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not TOML: {error}.") from error


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of file and environment. Raises SettingsError for an unknown key, a wrong value, a missing secret."""
    environ = os.environ if environ is None else environ
    path = config_path(environ)
    document = read_document(path)
    secrets: dict[str, str] = {}
    for field, variable in _SECRETS.items():
        secrets[field] = environ.get(variable, "").strip()
        if not secrets[field]:
            raise SettingsError(f"{variable} is not set: give it in the environment (any text that is not empty).")
    settings = from_document(document, environ, str(path))
    secrets["crm_secret"] = environ.get("CRM_SECRET", "").strip()
    if settings.crm.url and not secrets["crm_secret"]:
        raise SettingsError(
            "CRM_SECRET is not set, though crm.url is: give the secret that signs what is posted there."
        )
    return attrs.evolve(settings, secrets=Secrets(**secrets))


def from_document(document: Mapping[str, Any], environ: Mapping[str, str], origin: str) -> Settings:
    """The settings of a parsed file named `origin` and the variables of `environ`, without secrets."""
    for section, keys in document.items():
        if section not in SECTIONS:
            raise SettingsError(f"{origin} has an unknown section [{section}]: allowed are {', '.join(SECTIONS)}.")
        if not isinstance(keys, dict):
            raise SettingsError(f"{origin}: {section} = {keys!r} is not a section: write [{section}] above its keys.")
        known = {field.name for field in attrs.fields(SECTIONS[section])}
        for key, value in cast("dict[str, Any]", keys).items():
            if key not in known:
                raise SettingsError(
                    f"{origin} has an unknown key {section}.{key} = {_shown(key, value)}: allowed in [{section}] are "
                    f"{', '.join(sorted(known))}."
                )
    variables = {f"TRIODE_{s.upper()}_{f.name.upper()}" for s, f in all_settings()}
    for variable in sorted(environ):
        if variable.startswith("TRIODE_") and variable not in variables | NOT_SETTINGS:
            raise SettingsError(
                f"{variable} = {_shown(variable, environ[variable])} names no setting: allowed are "
                f"{', '.join(sorted(variables))}."
            )
    parts: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        given: dict[str, Any] = document.get(section, {})
        values: dict[str, Any] = {}
        for field in attrs.fields(kind):
            variable = f"TRIODE_{section.upper()}_{field.name.upper()}"
            if variable in environ:
                values[field.name] = _checked(field, environ[variable], variable, from_text=True)
            elif field.name in given:
                values[field.name] = _checked(field, given[field.name], f"{section}.{field.name} in {origin}")
        parts[section] = kind(**values)
    return Settings(**parts)


def all_settings() -> Iterator[tuple[str, "attrs.Attribute[Any]"]]:
    """Every (section, attribute); the attribute's metadata has `doc` and `allowed`."""
    for section, kind in SECTIONS.items():
        for field in attrs.fields(kind):
            yield section, field


def _checked(field: "attrs.Attribute[Any]", value: Any, key: str, from_text: bool = False) -> Any:
    """`value` as the field's type, within its bounds; SettingsError says what is allowed."""
    kind = cast("type[Any]", type(field.default))
    try:
        if from_text:  # a file of variables may leave the end of its line there
            value = kind(value.strip())
        elif kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or not field.metadata["check"](value):
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"{key} = {_shown(key, value)} cannot be used: allowed is {field.metadata['allowed']}."
        ) from None
    return value


def _shown(key: str, value: object) -> str:
    """`value` as it may be told, in what goes to the log of whoever supervises the process: not the password in an address, and
    nothing of what is meant as a secret and was only put into the wrong place."""
    if _SECRET_NAME.search(key):
        return "***"
    return _PASSWORD.sub(r"\1:***@", repr(value))
