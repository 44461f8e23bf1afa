"""Signatures: against Twilio's own helper, in every form that the URL may take."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from transport.signature import SignatureCheck

TOKEN = "12345"
FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675310",
    "Digits": "1234",
    "From": "+14158675310",
    "To": "+18005551212",
}
VECTOR = "L/OH5YylLD5NRKLltdqwSvS0BnU="
VOICE = "https://phone.example.com/twilio/voice"


def sign(url: str, form: object = None, token: str = TOKEN) -> str:
    return RequestValidator(token).compute_signature(url, form or {})


def check(public_url: str = "https://phone.example.com", token: str = TOKEN) -> SignatureCheck:
    return SignatureCheck(public_url, token)


# ---------------------------------------------------------------- webhooks


def test_the_documented_example_is_good():
    assert check("https://example.com").webhook("/myapp.php", "foo=1&bar=2", FORM, VECTOR)


@pytest.mark.parametrize(
    ("path", "query", "form", "signature"),
    [
        ("/myapp.php", "foo=1&bar=3", FORM, VECTOR),
        ("/myapp.php", "bar=2&foo=1", FORM, VECTOR),
        ("/myapp.php", "", FORM, VECTOR),
        ("/MyApp.php", "foo=1&bar=2", FORM, VECTOR),
        ("/myapp.php/", "foo=1&bar=2", FORM, VECTOR),
        ("/myapp.php", "foo=1&bar=2", {**FORM, "Digits": "1235"}, VECTOR),
        ("/myapp.php", "foo=1&bar=2", {**FORM, "More": ""}, VECTOR),
        ("/myapp.php", "foo=1&bar=2", {}, VECTOR),
        ("/myapp.php", "foo=1&bar=2", FORM, VECTOR.lower()),
        ("/myapp.php", "foo=1&bar=2", FORM, VECTOR[:-1]),
        ("/myapp.php", "foo=1&bar=2", FORM, VECTOR + "="),
        ("/myapp.php", "foo=1&bar=2", FORM, ""),
        ("/myapp.php", "foo=1&bar=2", FORM, None),
        ("/myapp.php", "foo=1&bar=2", FORM, "ä€"),
    ],
)
def test_any_change_to_the_documented_example_is_bad(path: str, query: str, form: dict, signature: str | None):
    assert not check("https://example.com").webhook(path, query, form, signature)


def test_the_signature_of_another_account_is_bad():
    assert not check("https://example.com", "12346").webhook("/myapp.php", "foo=1&bar=2", FORM, VECTOR)


def test_fields_that_are_empty_are_signed_too():
    form = MultiDict(parse_qsl("CallSid=CA1&FromZip=&ToCity=", keep_blank_values=True))
    assert list(form) == ["CallSid", "FromZip", "ToCity"]
    assert check().webhook("/twilio/voice", "", form, sign(VOICE, form))
    assert not check().webhook("/twilio/voice", "", {"CallSid": "CA1"}, sign(VOICE, form))


def test_fields_are_signed_decoded_and_with_their_spaces():
    form = MultiDict(parse_qsl("From=%2B1555&Name=+J%C3%BCrgen+", keep_blank_values=True))
    assert form["Name"] == " Jürgen "
    assert check().webhook("/twilio/voice", "", form, sign(VOICE, dict(form)))


def test_a_field_that_comes_twice_is_signed_as_twilio_does():
    form = MultiDict([("A", "2"), ("A", "1"), ("A", "2")])
    assert check().webhook("/twilio/voice", "", form, sign(VOICE, form))


def test_a_get_is_signed_over_its_url():
    assert check().webhook("/twilio/voice", "a=1&b=%20x", {}, sign(VOICE + "?a=1&b=%20x"))


def test_the_query_is_taken_as_it_came():
    raw = "why=silent&x=%2f%2F+%20&x="
    assert check().webhook(
        "/twilio/ivr/menu", raw, FORM, sign(f"https://phone.example.com/twilio/ivr/menu?{raw}", FORM)
    )


@pytest.mark.parametrize("path", ["/twilio/voice", "/calls/twilio/voice"])
def test_a_prefix_that_the_proxy_strips_or_keeps_is_part_of_the_url(path: str):
    url = "https://phone.example.com/calls/twilio/voice"
    for public in ("https://phone.example.com/calls", "https://phone.example.com/calls/"):
        assert check(public).webhook(path, "", FORM, sign(url, FORM))
    assert not check("https://phone.example.com/calls").webhook(path, "", FORM, sign(VOICE, FORM))


def test_a_path_that_only_begins_like_the_prefix_is_not_taken_for_it():
    url = "https://phone.example.com/twi/twilio/voice"
    assert check("https://phone.example.com/twi").webhook("/twilio/voice", "", FORM, sign(url, FORM))


@pytest.mark.parametrize("public", ["https://phone.example.com", "https://phone.example.com:443"])
@pytest.mark.parametrize("signed", [VOICE, "https://phone.example.com:443/twilio/voice"])
def test_the_default_port_may_be_said_or_not(public: str, signed: str):
    assert check(public).webhook("/twilio/voice", "", FORM, sign(signed, FORM))


@pytest.mark.parametrize("signed", ["http://127.0.0.1:8000/twilio/voice", "http://127.0.0.1/twilio/voice"])
def test_another_port_may_be_kept_or_dropped(signed: str):
    assert check("http://127.0.0.1:8000").webhook("/twilio/voice", "", FORM, sign(signed, FORM))


def test_the_scheme_is_the_public_one():
    assert not check().webhook("/twilio/voice", "", FORM, sign("http://phone.example.com/twilio/voice", FORM))


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), max_size=6),
    st.text("abc=&%20+?/", max_size=20),
)
def test_whatever_twilio_signs_is_good_and_nothing_else(form: dict, query: str):
    url = VOICE + (f"?{query}" if query else "")
    assert check().webhook("/twilio/voice", query, form, sign(url, form))
    assert not check().webhook("/twilio/voice", query, form, sign(url, form, "54321"))
    assert not check().webhook("/twilio/voices", query, form, sign(url, form))


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()), st.none() | st.text())
def test_a_signature_that_was_not_made_is_never_good(path: str, query: str, form: dict, signature: str | None):
    assert not check().webhook("/" + path, query, form, signature)
    assert not check().handshake("/" + path, signature)


# ---------------------------------------------------------------- the handshake


@pytest.mark.parametrize(
    ("public", "url"),
    [
        ("https://phone.example.com", "wss://phone.example.com/twilio/media"),
        ("https://phone.example.com", "wss://phone.example.com/twilio/media/"),
        ("https://phone.example.com", "wss://phone.example.com:443/twilio/media"),
        ("https://phone.example.com:443", "wss://phone.example.com/twilio/media"),
        ("https://phone.example.com:443", "wss://phone.example.com:443/twilio/media"),
        ("https://phone.example.com:8443", "wss://phone.example.com:8443/twilio/media"),
        ("https://phone.example.com:8443", "wss://phone.example.com/twilio/media"),
        ("https://phone.example.com:8443", "wss://phone.example.com:8443/twilio/media/"),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/twilio/media"),
        ("http://[::1]:8000", "ws://[::1]:8000/twilio/media"),
        ("http://[::1]:8000", "ws://[::1]/twilio/media"),
    ],
)
def test_a_handshake_is_good_in_each_form_of_its_url(public: str, url: str):
    assert check(public).handshake("/twilio/media", sign(url))


@pytest.mark.parametrize("path", ["/twilio/media", "/calls/twilio/media"])
def test_a_handshake_behind_a_prefix_is_good(path: str):
    signature = sign("wss://phone.example.com/calls/twilio/media")
    assert check("https://phone.example.com/calls").handshake(path, signature)


@pytest.mark.parametrize(
    "url",
    [
        "https://phone.example.com/twilio/media",
        "ws://phone.example.com/twilio/media",
        "wss://phone.example.com:80/twilio/media",
        "wss://phone.example.com:8443/twilio/media",
        "wss://example.com/twilio/media",
        "wss://phone.example.com/twilio/media//",
        "wss://phone.example.com/twilio/media?x=1",
        "wss://phone.example.com/",
    ],
)
def test_a_handshake_signed_over_another_url_is_bad(url: str):
    assert not check().handshake("/twilio/media", sign(url))


@pytest.mark.parametrize("signature", [None, "", " ", "x", sign("wss://phone.example.com/twilio/media", None, "54321")])
def test_a_handshake_without_a_good_signature_is_bad(signature: str | None):
    assert not check().handshake("/twilio/media", signature)
