"""hypercorn's file: hypercorn takes unknown keys without a word, so they are checked here."""

import inspect
import tomllib
from pathlib import Path

import pytest
from hypercorn.config import Config

import conf
from conf.settings import Settings

FILE = Path(conf.__file__).with_name("hypercorn.toml")
DOCUMENT = tomllib.loads(FILE.read_text("utf-8"))
SETTABLE = {
    name
    for name, value in inspect.getmembers(Config)
    if not name.startswith("_") and (not callable(value) or isinstance(value, property))
}


@pytest.mark.parametrize("key", sorted(DOCUMENT))
def test_every_key_is_one_of_hypercorn(key: str):
    assert key in SETTABLE


def test_a_misspelt_key_would_be_seen():
    assert "gracefull_timeout" not in SETTABLE
    assert "bind" in SETTABLE


@pytest.mark.parametrize("key", sorted(set(DOCUMENT) - {"bind"}))
def test_every_value_has_the_type_hypercorn_expects(key: str):
    default = getattr(Config(), key)
    optional_numbers = {"read_timeout", "websocket_ping_interval"}
    if key in optional_numbers or isinstance(default, float):
        assert isinstance(DOCUMENT[key], int | float)
    else:
        assert type(DOCUMENT[key]) is type(default)


def test_hypercorn_reads_what_the_file_says():
    config = Config.from_toml(str(FILE))
    for key, value in DOCUMENT.items():
        assert getattr(config, key) == value


def test_the_worker_is_trio_and_there_is_no_master():
    config = Config.from_toml(str(FILE))
    assert config.worker_class == "trio"
    assert config.workers == 0


def test_calls_are_never_cut_by_a_request_counter():
    assert Config.from_toml(str(FILE)).max_requests is None


def test_calls_may_finish_before_hypercorn_cuts_them():
    assert Settings().server.drain_seconds + 30 <= DOCUMENT["graceful_timeout"]


def test_a_ping_comes_well_before_the_read_timeout():
    assert 2 * DOCUMENT["websocket_ping_interval"] < DOCUMENT["read_timeout"]


def test_only_http_1_1_is_offered():
    assert DOCUMENT["alpn_protocols"] == ["http/1.1"]


def test_messages_are_bounded():
    assert 4096 <= DOCUMENT["websocket_max_message_size"] <= 65536
