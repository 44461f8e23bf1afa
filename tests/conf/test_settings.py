"""The settings: every key with its bounds, from file and environment, and the sentence that refuses a bad one."""

import tomllib
from pathlib import Path

import attrs
import pytest

from conf import settings as conf
from conf.settings import SECTIONS, Secrets, Settings, SettingsError, all_settings, from_document, load

SECRETS = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "twilio-secret", "OPENAI_API_KEY": "openai-secret"}
SHIPPED = Path(conf.__file__).with_name("triode.toml")

# A value that is allowed and not the default, and one that is not allowed, for every key there is.
GOOD = {
    "server.public_url": "https://phone.example.com/prefix",
    "server.max_calls": 7,
    "server.drain_seconds": 1.5,
    "server.max_lag_ms": 250.0,
    "server.held_ms": 0.0,
    "server.log_format": "pretty",
    "server.log_level": "debug",
    "server.flight_folder": "var/flights",
    "server.flight_calls": "all",
    "twilio.api_url": "http://127.0.0.1:9000",
    "twilio.token_seconds": 30.0,
    "twilio.sms_from": "MG" + "0123456789abcdef" * 2,
    "twilio.sms_a_day": 5,
    "model.url": "ws://127.0.0.1:9001/v1/realtime",
    "model.failover_url": "wss://other.example.com/v1/realtime",
    "model.name": "another-model",
    "model.voice": "cedar",
    "model.reasoning": "",
    "model.max_output_tokens": 4096,
    "model.transcription": "",
    "model.language": "de",
    "model.vad_threshold": 0.25,
    "model.vad_prefix_ms": 0,
    "model.vad_silence_ms": 900,
    "model.connect_timeout": 0.1,
    "model.session_timeout": 60.0,
    "model.replace_seconds": 0.0,
    "model.append_ms": 40,
    "model.standby": "on",
    "call.max_silence": 2.5,
    "call.max_seconds": 10.0,
    "call.hold_back_seconds": 1.0,
    "call.human_number": "+15551234567",
    "call.transfer": "warm",
    "call.barge_in": "model",
    "call.overflow_number": "+15557654321",
    "call.queue_seconds": 0.0,
    "call.resume_minutes": 0.0,
    "audio.frame_ms": 40,
    "audio.lead_ms": 60,
    "audio.mark_ms": 100,
    "audio.prompts": "clips",
    "flow.path": "elsewhere.toml",
    "store.url": "sqlite:////var/lib/triode/calls.db",
    "store.unwritten": "",
    "store.keep_days": 0.0,
    "store.transcripts": "drop",
    "crm.url": "https://crm.example.com/calls?tenant=7",
}
ALSO_GOOD = [
    ("twilio.sms_from", ""),
    ("twilio.sms_from", "+15551234567"),
    ("store.url", "redis://cache"),
    ("store.url", "redis://user:word@cache.example.com:6380/3"),
    ("store.url", "rediss://cache.example.com/0"),
    ("store.keep_days", 36_500),
    ("call.resume_minutes", 1440),
    ("crm.url", ""),
    ("crm.url", "http://127.0.0.1:9005/calls"),
    ("crm.url", "http://localhost/calls"),
]
BAD = [
    ("server.public_url", "ftp://phone.example.com"),
    ("server.public_url", "phone.example.com"),
    ("server.public_url", "https://phone.example.com/?a=b"),
    ("server.public_url", "https://phone.example.com/#part"),
    ("server.public_url", "https://"),
    ("server.public_url", "http://[::1"),
    ("server.max_calls", -1),
    ("server.max_calls", 100_001),
    ("server.drain_seconds", -0.1),
    ("server.log_format", "xml"),
    ("server.log_level", "INFO"),
    ("server.flight_calls", "none"),
    ("twilio.api_url", ""),
    ("twilio.token_seconds", 4.9),
    ("twilio.token_seconds", 601),
    ("twilio.sms_from", "15551234567"),
    ("twilio.sms_from", "Triode"),
    ("twilio.sms_from", "MG0123456789abcdef"),
    ("twilio.sms_from", "MG" + "0123456789abcde-" * 2),
    ("twilio.sms_from", "AC" + "0123456789abcdef" * 2),
    ("model.url", "ws://api.openai.com/v1/realtime"),
    ("model.url", "https://api.openai.com/v1/realtime"),
    ("model.url", ""),
    ("model.failover_url", "http://127.0.0.1"),
    ("model.name", ""),
    ("model.voice", "onyx"),
    ("model.reasoning", "maximal"),
    ("model.max_output_tokens", 0),
    ("model.max_output_tokens", 4097),
    ("model.vad_threshold", 1.01),
    ("model.vad_prefix_ms", -1),
    ("model.vad_silence_ms", 99),
    ("model.connect_timeout", 0),
    ("model.session_timeout", 61),
    ("model.replace_seconds", 61),
    ("model.append_ms", 19),
    ("model.append_ms", 101),
    ("model.standby", "yes"),
    ("call.max_silence", 0.4),
    ("call.max_seconds", 9),
    ("call.hold_back_seconds", 0),
    ("call.human_number", "15551234567"),
    ("call.human_number", "+1555CALLME"),
    ("call.human_number", "+123456"),
    ("call.human_number", "+1234567890123456"),
    ("call.human_number", "+١٥٥٥١٢٣٤٥٦٧"),
    ("call.transfer", ""),
    ("call.transfer", "Warm"),
    ("call.barge_in", "Model"),
    ("call.overflow_number", "12"),
    ("call.queue_seconds", 3601),
    ("server.max_lag_ms", 0),
    ("server.held_ms", -1),
    ("call.resume_minutes", -1),
    ("call.resume_minutes", 1441),
    ("audio.frame_ms", 19),
    ("audio.frame_ms", 401),
    ("audio.lead_ms", 59),
    ("audio.mark_ms", 2001),
    ("store.url", "sqlite:///"),
    ("store.url", "postgresql://localhost/triode"),
    ("store.url", "sqlite:///:memory:"),
    ("store.url", "redis://"),
    ("store.url", "redis:///0"),
    ("store.url", "redis://cache:port"),
    ("store.url", "http://cache"),
    ("store.keep_days", -1),
    ("store.keep_days", 36_501),
    ("store.transcripts", "delete"),
    ("crm.url", "http://crm.example.com/calls"),
    ("crm.url", "crm.example.com"),
    ("crm.url", "https://"),
    ("crm.url", "https://crm.example.com/#calls"),
]


def settings_of(text: str = "", **environ: str) -> Settings:
    return from_document(tomllib.loads(text), environ, "triode.toml")


def variable(key: str) -> str:
    return f"TRIODE_{key.replace('.', '_').upper()}"


def value_of(settings: Settings, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(settings, section), name)


def written(key: str, value: object) -> str:
    section, name = key.split(".")
    return f"[{section}]\n{name} = {f'{value!r}' if not isinstance(value, bool) else str(value).lower()}\n"


ALL_KEYS = [f"{section}.{field.name}" for section, field in all_settings()]


def test_this_file_knows_every_key():
    assert sorted(GOOD) == sorted(ALL_KEYS)


@pytest.mark.parametrize("key", ALL_KEYS)
def test_every_default_is_within_its_own_bounds(key: str):
    section, name = key.split(".")
    field = attrs.fields_dict(SECTIONS[section])[name]
    assert value_of(settings_of(written(key, field.default)), key) == field.default


@pytest.mark.parametrize("key", ALL_KEYS)
def test_every_key_says_what_it_means_and_what_is_allowed(key: str):
    section, name = key.split(".")
    metadata = attrs.fields_dict(SECTIONS[section])[name].metadata
    assert len(metadata["doc"]) > 10
    assert metadata["allowed"]


@pytest.mark.parametrize(("key", "value"), GOOD.items())
def test_every_key_can_be_set_in_the_file(key: str, value: object):
    assert value_of(settings_of(written(key, value)), key) == value
    assert value_of(Settings(), key) != value


@pytest.mark.parametrize(("key", "value"), ALSO_GOOD)
def test_a_key_takes_every_form_that_it_says_is_allowed(key: str, value: object):
    assert value_of(settings_of(written(key, value)), key) == value
    assert value_of(settings_of(**{variable(key): str(value)}), key) == value


@pytest.mark.parametrize(("key", "value"), GOOD.items())
def test_every_key_can_be_overridden_by_the_environment(key: str, value: object):
    got = value_of(settings_of(**{variable(key): str(value)}), key)
    assert got == value
    assert type(got) is type(value_of(Settings(), key))


def test_the_environment_wins_over_the_file():
    settings = settings_of('[model]\nvoice = "ash"\nname = "from-the-file"\n', TRIODE_MODEL_VOICE="sage")
    assert (settings.model.voice, settings.model.name) == ("sage", "from-the-file")


def test_a_good_override_hides_a_bad_value_of_the_file():
    assert settings_of('[model]\nvoice = "nobody"\n', TRIODE_MODEL_VOICE="sage").model.voice == "sage"


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_value_out_of_bounds_in_the_file_is_refused_by_name(key: str, value: object):
    with pytest.raises(SettingsError) as refused:
        settings_of(written(key, value))
    for part in (key, "triode.toml", repr(value), "allowed is"):
        assert part in str(refused.value)


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_value_out_of_bounds_in_the_environment_is_refused_by_name(key: str, value: object):
    with pytest.raises(SettingsError) as refused:
        settings_of(**{variable(key): str(value)})
    for part in (variable(key), str(value), "allowed is"):
        assert part in str(refused.value)


@pytest.mark.parametrize("key", [k for k in ALL_KEYS if not isinstance(GOOD[k], str)])
@pytest.mark.parametrize("text", ["", "many", "nan", "inf", "-inf", "1e999", "0x10", "true"])
def test_a_number_that_is_none_is_refused(key: str, text: str):
    with pytest.raises(SettingsError, match=variable(key)):
        settings_of(**{variable(key): text})


@pytest.mark.parametrize("key", [k for k in ALL_KEYS if isinstance(GOOD[k], int)])
def test_a_whole_number_may_not_have_a_fraction(key: str):
    with pytest.raises(SettingsError, match="a whole number from"):
        settings_of(written(key, float(GOOD[key])))
    with pytest.raises(SettingsError, match="a whole number from"):
        settings_of(**{variable(key): f"{GOOD[key]}.0"})


@pytest.mark.parametrize("key", ALL_KEYS)
@pytest.mark.parametrize("literal", ["true", "[]", "{}", "2026-11-23", "nan", "inf"])
def test_a_value_of_another_type_is_refused(key: str, literal: str):
    section, name = key.split(".")
    with pytest.raises(SettingsError, match=rf"{section}\.{name}"):
        settings_of(f"[{section}]\n{name} = {literal}\n")


@pytest.mark.parametrize("key", ALL_KEYS)
def test_a_text_is_no_number_and_a_number_no_text_in_the_file(key: str):
    section, name = key.split(".")
    wrong = "12" if isinstance(GOOD[key], str) else '"12"'
    with pytest.raises(SettingsError, match=rf"{section}\.{name}"):
        settings_of(f"[{section}]\n{name} = {wrong}\n")


@pytest.mark.parametrize("key", [k for k in ALL_KEYS if isinstance(GOOD[k], float)])
def test_a_fractional_setting_may_be_written_whole(key: str):
    low_to_high = {"model.vad_threshold": 1, "model.connect_timeout": 4, "model.session_timeout": 3}
    value = low_to_high.get(key, 20)
    got = value_of(settings_of(written(key, value)), key)
    assert got == value
    assert type(got) is float


def test_an_unknown_section_is_refused_with_those_there_are():
    with pytest.raises(SettingsError) as refused:
        settings_of("[sever]\nmax_calls = 3\n")
    assert "[sever]" in str(refused.value)
    for section in SECTIONS:
        assert section in str(refused.value)


def test_secrets_are_no_section_of_the_file():
    with pytest.raises(SettingsError, match=r"unknown section \[secrets\]"):
        settings_of('[secrets]\nauth_token = "x"\n')


def test_a_key_outside_its_section_is_refused():
    with pytest.raises(SettingsError, match="max_calls"):
        settings_of("max_calls = 3\n")
    with pytest.raises(SettingsError, match=r"server = 3 is not a section"):
        settings_of("server = 3\n")
    with pytest.raises(SettingsError, match=r"is not a section"):
        settings_of("[[server]]\nmax_calls = 3\n")


def test_an_unknown_key_is_refused_with_those_there_are():
    with pytest.raises(SettingsError) as refused:
        settings_of("[server]\nmax_cals = 3\n")
    for part in ("server.max_cals", "3", "max_calls", "triode.toml"):
        assert part in str(refused.value)


def test_an_unknown_variable_of_ours_is_refused_and_others_are_left_alone():
    with pytest.raises(SettingsError) as refused:
        settings_of(TRIODE_SERVER_MAX_CALS="3")
    assert "TRIODE_SERVER_MAX_CALS" in str(refused.value)
    assert "TRIODE_SERVER_MAX_CALLS" in str(refused.value)
    assert settings_of(TRIODE_CONFIG="somewhere", PATH="/bin", TRIODES="3") == Settings()


@pytest.mark.parametrize("missing", SECRETS)
@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_missing_secret_is_named_and_the_others_are_not_shown(missing: str, value: str | None, tmp_path: Path):
    file = tmp_path / "triode.toml"
    file.write_text("")
    environ = {**SECRETS, "TRIODE_CONFIG": str(file)}
    if value is None:
        del environ[missing]
    else:
        environ[missing] = value
    with pytest.raises(SettingsError, match=missing) as refused:
        load(environ)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("", {"TRIODE_OPENAI_API_KEY": "sk-hush"}),
        ("", {"TRIODE_TWILIO_AUTH_TOKEN": "hush"}),
        ("", {"TRIODE_CRM_SECRET": "hush"}),
        ('[twilio]\nauth_token = "hush"\n', {}),
        ('[model]\nopenai_api_key = "hush"\n', {}),
        ("", {"TRIODE_STORE_URL": "redis://us:hush@host:0"}),
        ("", {"TRIODE_STORE_URI": "redis://:hush@host"}),
        ('[store]\nurl = "postgres://us:hush/@:hush@host/calls"\n', {}),
        ('[crm]\nurl = "http://us:hush@host"\n', {}),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(text: str, environ: dict[str, str]):
    with pytest.raises(SettingsError) as refused:
        settings_of(text, **environ)
    assert "hush" not in str(refused.value)
    assert any(
        name in str(refused.value) for name in (*environ, "auth_token", "openai_api_key", "store.url", "crm.url")
    )


def test_secrets_come_from_the_environment_and_are_never_shown(tmp_path: Path):
    file = tmp_path / "triode.toml"
    file.write_text("[server]\nmax_calls = 3\n")
    settings = load({**SECRETS, "OPENAI_API_KEY": " openai-secret\n", "TRIODE_CONFIG": str(file)})
    assert settings.secrets == Secrets("AC1", "twilio-secret", "openai-secret")
    assert settings.server.max_calls == 3
    assert "secret" not in repr(settings).replace("secrets=Secrets", "")
    assert "AC1" not in repr(settings)


@pytest.mark.parametrize("value", [None, "", " \t"])
def test_a_backend_without_its_secret_is_refused(value: str | None, tmp_path: Path):
    file = tmp_path / "triode.toml"
    file.write_text('[crm]\nurl = "https://crm.example.com/calls"\n')
    environ = {**SECRETS, "TRIODE_CONFIG": str(file), **({} if value is None else {"CRM_SECRET": value})}
    with pytest.raises(SettingsError, match=r"CRM_SECRET.*crm\.url") as refused:
        load(environ)
    assert "secret" not in str(refused.value).replace("the secret that signs", "")
    assert load({**environ, "TRIODE_CRM_URL": ""}).secrets.crm_secret == ""


def test_the_secret_of_the_backend_comes_from_the_environment_and_is_never_shown(tmp_path: Path):
    file = tmp_path / "triode.toml"
    file.write_text('[crm]\nurl = "https://crm.example.com/calls"\n')
    settings = load({**SECRETS, "CRM_SECRET": " crm-secret\n", "TRIODE_CONFIG": str(file)})
    assert settings.secrets == Secrets("AC1", "twilio-secret", "openai-secret", "crm-secret")
    assert settings.crm.url == "https://crm.example.com/calls"
    assert "crm-secret" not in repr(settings)
    file.write_text("")
    assert load({**SECRETS, "CRM_SECRET": "crm-secret", "TRIODE_CONFIG": str(file)}).secrets.crm_secret == "crm-secret"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"[server\n", "is not TOML"), (b'[server]\npublic_url = "\xff"\n', "is not TOML"), (None, "cannot be read")],
)
def test_a_file_that_cannot_be_used_is_named(content: bytes | None, said: str, tmp_path: Path):
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as refused:
        load({**SECRETS, "TRIODE_CONFIG": str(file)})
    assert "mine.toml" in str(refused.value)


def test_a_directory_is_no_settings_file(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load({**SECRETS, "TRIODE_CONFIG": str(tmp_path)})


def test_the_file_is_looked_for_here_and_then_where_it_was_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert conf.config_path({}) == SHIPPED
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "triode.toml").write_text("[server]\nmax_calls = 2\n")
    assert conf.config_path({}) == Path("conf/triode.toml")
    assert load(SECRETS).server.max_calls == 2
    assert conf.config_path({"TRIODE_CONFIG": "x.toml"}) == Path("x.toml")


def test_the_shipped_file_has_only_known_keys_and_their_defaults():
    assert from_document(tomllib.loads(SHIPPED.read_text("utf-8")), {}, "triode.toml") == Settings()


def test_settings_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Settings().server.max_calls = 3


@pytest.mark.parametrize("end", ["\r", "\n", " "])
@pytest.mark.parametrize("key", GOOD)
def test_the_end_of_a_line_is_no_part_of_a_variables_value(key: str, end: str):
    section, name = key.split(".")
    settings = from_document({}, {f"TRIODE_{section}_{name}".upper(): f"{GOOD[key]}{end}"}, "triode.toml")
    assert getattr(getattr(settings, section), name) == GOOD[key]
