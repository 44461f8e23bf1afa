"""How a call ended, in the store: what a status callback changes about it, and what must never be written down."""

import datetime
from pathlib import Path

import pytest

from actors.messages import Disposition
from actors.notebook import CallRecord, Trouble
from tests.transport.store_kit import one_store
from transport.store import Store

pytest_plugins = ["tests.transport.store_kit"]


async def disposition(store: Store) -> str:
    row = await store.call("CA1")
    assert row is not None
    return str(row["disposition"])


def written_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize("status_first", [True, False])
@pytest.mark.parametrize(
    ("decided", "kept"),
    [
        (Disposition.RESUME, "hang_up"),  # the stream was lost because the caller hung up
        (Disposition.DIAL, "dial"),
        (Disposition.IVR, "ivr"),
    ],
)
async def test_a_call_that_is_over_is_not_to_be_resumed(url: str, status_first: bool, decided: Disposition, kept: str):
    async with one_store(url) as store:
        if status_first:
            await store.status("CA1", "completed", 3)
        await store.keep_disposition("CA1", decided)
        if not status_first:
            await store.status("CA1", "completed", 3)
        assert await disposition(store) == kept


async def test_a_call_that_goes_on_is_to_be_resumed(url: str):
    async with one_store(url) as store:
        await store.status("CA1", "in-progress", 1)
        await store.keep_disposition("CA1", Disposition.RESUME)
        assert await disposition(store) == "resume"


async def test_a_key_that_the_model_quotes_is_not_written_down(tmp_path: Path, lasting_url: str):
    record = CallRecord("CA1", "MZ1", datetime.datetime.now(datetime.UTC), disposition=Disposition.IVR)
    record.reason = "the model was lost: invalid_api_key: Incorrect API key provided: sk-proj-verysecret123"
    record.errors.append(Trouble(1.0, "model", record.reason))
    async with one_store(lasting_url) as store:
        await store.keep_record(record)
        row = await store.call("CA1")
    assert "verysecret" not in str(row)
    assert b"verysecret" not in written_in(tmp_path)
    assert row is not None
    assert "Incorrect API key" in row["reason"]
