"""For comparison: the shortest relay one would write on the same stack. No actors, no ledger, no checks, no record.

hypercorn and Quart-Trio towards Twilio, trio-websocket towards the model; audio is passed on as it comes; on
speech_started it clears and truncates by the timestamps of the media messages, as Twilio's own sample does.
"""

import json
import os
from typing import Any

import trio
from quart import websocket
from quart_trio import QuartTrio
from trio_websocket import open_websocket_url

app = QuartTrio("naive")
SESSION = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
    },
}


@app.websocket("/twilio/media")
async def media() -> None:
    """One call."""
    await websocket.accept()
    phone = websocket._get_current_object()
    state: dict[str, Any] = {"stream": "", "now": 0, "item": None, "began": 0}
    url = f"{os.environ['TRIODE_MODEL_URL']}?model=gpt-realtime"
    async with open_websocket_url(url, message_queue_size=64) as model, trio.open_nursery() as nursery:
        await model.send_message(json.dumps({"type": "session.update", "session": SESSION}))
        nursery.start_soon(_down, phone, model, state)
        while True:
            event = json.loads(await phone.receive())
            if event["event"] == "media":
                state["now"] = int(event["media"]["timestamp"])
                append = {"type": "input_audio_buffer.append", "audio": event["media"]["payload"]}
                await model.send_message(json.dumps(append))
            elif event["event"] == "start":
                state["stream"] = event["start"]["streamSid"]


async def _down(phone: Any, model: Any, state: dict[str, Any]) -> None:
    while True:
        event = json.loads(await model.get_message())
        if event["type"] == "response.output_audio.delta":
            media = {"event": "media", "streamSid": state["stream"], "media": {"payload": event["delta"]}}
            await phone.send(json.dumps(media))
            if state["item"] != event["item_id"]:
                state["item"], state["began"] = event["item_id"], state["now"]
            mark = {"event": "mark", "streamSid": state["stream"], "mark": {"name": "part"}}
            await phone.send(json.dumps(mark))
        elif event["type"] == "input_audio_buffer.speech_started" and state["item"]:
            truncate = {
                "type": "conversation.item.truncate",
                "item_id": state["item"],
                "content_index": 0,
                "audio_end_ms": state["now"] - state["began"],
            }
            await model.send_message(json.dumps(truncate))
            await phone.send(json.dumps({"event": "clear", "streamSid": state["stream"]}))
            state["item"] = None
