"""What tests of the HTTP routes share: webhooks as Twilio sends them, and their answers read as strictly as Twilio reads them."""

import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import trio
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio

from tests.kit.patience import PATIENCE
from tests.transport import wire_kit
from tests.transport.wire_kit import PUBLIC, settings_for, signature
from transport.loopback.twiml_reader import Connect, Gather, Say, Verb, read
from transport.stream_token import StreamTokens
from transport.web import create_app

Form = Mapping[str, str]
NONE: Form = {}
TOKENS = StreamTokens(wire_kit.AUTH_TOKEN, 60)
POSTS = sorted(rule.rule for rule in create_app(settings_for()).url_map.iter_rules() if "POST" in (rule.methods or ()))
CALLER = {"AccountSid": "AC" + "0" * 32, "From": "+15550002222", "To": "+15550003333", "FromCity": "SÃO PAULO"}
EMPTY = {"FromZip": "", "CallerName": "", "ToState": ""}


def form(call_sid: str = "CA1", **fields: str) -> dict[str, str]:
    """A form as Twilio sends it: many fields, some of them empty, some not ASCII."""
    return {**CALLER, **EMPTY, "CallSid": call_sid, "CallStatus": "in-progress", **fields}


@attrs.frozen
class Answer:
    """What came back."""

    url: str
    status: int
    headers: Form
    body: bytes

    @property
    def verbs(self) -> list[Verb]:
        """The verbs, read as strictly as Twilio reads them."""
        assert self.status == 200
        assert self.headers["content-type"].startswith("text/xml")
        return list(read(self.body.decode(), self.url))

    @property
    def kinds(self) -> list[type]:
        return [type(verb) for verb in self.verbs]

    @property
    def said(self) -> str:
        said = itertools.chain.from_iterable(v.nested if isinstance(v, Gather) else (v,) for v in self.verbs)
        return " ".join(verb.text for verb in said if isinstance(verb, Say))

    @property
    def token(self) -> str:
        (connect,) = self.verbs
        assert isinstance(connect, Connect)
        return connect.parameters["token"]


async def ask(
    app: QuartTrio, path: str, fields: Form | None = None, *, signed: str | None = "", headers: Form = NONE
) -> Answer:
    """A webhook of Twilio's; `signed` puts another signature in place of the right one, None leaves it out."""
    fields = form() if fields is None else fields
    given = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", **headers}
    if signed is not None:
        given["X-Twilio-Signature"] = signed or signature(PUBLIC + path, dict(fields))
    return await send(app, "POST", path, given, urlencode(fields).encode())


async def send(app: QuartTrio, method: str, path: str, headers: Form = NONE, body: bytes = b"") -> Answer:
    with trio.fail_after(PATIENCE):
        answer = await app.test_client().open(path, method=method, headers=dict(headers), data=body)
        return Answer(PUBLIC + path, answer.status_code, answer.headers, await answer.get_data(as_text=False))


@contextlib.asynccontextmanager
async def stored_house(folder: Path) -> AsyncIterator[QuartTrio]:
    """The application with a real store in `folder`. Threads: not for the virtual clock."""
    app = create_app(settings_for(folder), connect_model=wire_kit.FakeModel())
    async with wire_kit.lifespan(app):
        yield app


def rows(folder: Path, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "calls.db")) as db:
        return db.execute(f"SELECT {columns} FROM {table}").fetchall()


async def metric(app: QuartTrio, name: str, **labels: str) -> float:
    families = text_string_to_metric_families((await send(app, "GET", "/metrics")).body.decode())
    samples = itertools.chain.from_iterable(family.samples for family in families)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())
