"""The tools of the agent: what the model is told of them, and their arguments as typed values or a precise correction.

All of a flow's tools are named to the model once, at the start, and stay: changing them would cost the prompt cache. What a
state does not allow is refused here, with the reason.
"""

import datetime
from collections.abc import Mapping
from typing import Any, cast, get_args, get_origin

import attrs
import cattrs

from actors.messages import ToolCall, ToolSpec
from conf.errors import sentences
from conf.flow import Flow, PythonTool, Slot
from conf.json_schema import schema_of

REASON_AT_MOST = 500
SMS_AT_MOST = 1000
"""Characters of a message; a longer one is a letter."""


def _short(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if len(value) > REASON_AT_MOST:
        raise ValueError(f"expected at most {REASON_AT_MOST} characters @ $.{attribute.name}")


def _message(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not value.strip() or len(value) > SMS_AT_MOST:
        raise ValueError(f"expected 1 to {SMS_AT_MOST} characters @ $.{attribute.name}")


def _share(_: object, attribute: "attrs.Attribute[float | None]", value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"expected a number from 0 to 1 @ $.{attribute.name}")


@attrs.frozen
class EndCall:
    """The conversation is over."""

    reason: str = attrs.field(default="", validator=_short)


@attrs.frozen
class TransferToHuman:
    """The caller is to speak with a person."""

    reason: str = attrs.field(default="", validator=_short)


@attrs.frozen
class SendSms:
    """A text message to the caller, or to the number in a slot."""

    text: str = attrs.field(validator=_message)
    to: str = "caller"


@attrs.frozen
class LookUp:
    """A fact of the flow is asked for; `topic` is one of its names."""

    topic: str


@attrs.frozen
class SaveDetails:
    """What the caller told: `values` by slot, not yet read; `confidence`: how sure the model is, 0 to 1."""

    values: Mapping[str, object]
    intent: str = ""
    confidence: float | None = None
    left_out: str = ""
    """What is wrong with the intent or confidence that was passed: the values count without it."""


@attrs.frozen
class ConfirmDetails:
    """The caller answered the read-back of `slots`: whether it was right."""

    slots: tuple[str, ...]
    correct: bool


@attrs.frozen
class StartOver:
    """The caller wants to begin again."""


@attrs.frozen
class RunTool:
    """A tool written in Python, with its arguments as an instance of its class."""

    tool: PythonTool
    arguments: Any


Request = EndCall | TransferToHuman | SendSms | LookUp | SaveDetails | ConfirmDetails | StartOver | RunTool


class BadArguments(ValueError):
    """A tool call that cannot be carried out; the text tells the model what to mend, and where."""


# ---------------------------------------------------------------- what the model is told


def specs(flow: Flow) -> tuple[ToolSpec, ...]:
    """The tools of `flow` as the model is told of them; those without a use in it are left out."""
    reason: dict[str, object] = {"type": "object", "properties": {"reason": {"type": "string"}}}
    tools = [
        ToolSpec(
            "end_call",
            "Ends the call. Use when the caller has all they need or says goodbye; say goodbye in the same reply.",
            reason,
        ),
        ToolSpec(
            "transfer_to_human",
            "Connects the caller with a person. Use when they ask for one or you cannot help; tell them first.",
            reason,
        ),
        ToolSpec(
            "send_sms",
            "Sends a text message to the caller. Use only when the caller asked for one or agreed to it.",
            {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "What the message says."},
                    "to": {"type": "string", "enum": ["caller", *_phones(flow)]},
                },
                "required": ["text"],
            },
        ),
    ]
    if flow.facts:
        topic = {"type": "string", "enum": sorted(flow.facts)}
        tools.append(
            ToolSpec("look_up", "Looks up a fact. Use it instead of guessing.", _object({"topic": topic}, "topic"))
        )
    if flow.slots or flow.intents:
        tools.append(_save_spec(flow))
    if flow.slots:
        names = {"type": "array", "items": {"type": "string", "enum": list(flow.slots)}}
        tools.append(
            ToolSpec(
                "confirm_details",
                "Call after you read a detail back and the caller answered: whether they said it is right.",
                _object({"slots": names, "correct": {"type": "boolean"}}, "slots", "correct"),
            )
        )
        tools.append(
            ToolSpec("start_over", "Forgets everything told so far. Only if the caller asks for it.", _object({}))
        )
    tools += [ToolSpec(t.name, t.description, schema_of(t.arguments)) for t in flow.tools.values()]
    return tuple(tools)


def _save_spec(flow: Flow) -> ToolSpec:
    properties: dict[str, object] = {}
    if flow.intents:
        meaning = " ".join(f"{name}: {text}" for name, text in flow.intents.items())
        properties["intent"] = {"type": "string", "enum": list(flow.intents), "description": meaning}
    properties |= {name: _slot_schema(slot) for name, slot in flow.slots.items()}
    properties["confidence"] = {"type": "number", "description": "How sure you are that you heard it right, 0 to 1."}
    return ToolSpec(
        "save_details",
        "Saves what the caller wants or told you, as soon as they said it, also when they correct it. Pass a value as it "
        "was said or spelled, or only the correction ('the second letter is an M'). Never guess missing characters.",
        _object(properties),
    )


def _slot_schema(slot: Slot) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string", "description": slot.label}
    return schema | ({"enum": list(slot.choices)} if slot.choices else {})


def _phones(flow: Flow) -> list[str]:
    return [name for name, slot in flow.slots.items() if slot.kind == "phone"]


def _object(properties: Mapping[str, object], *required: str) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object", "properties": properties}
    return schema | ({"required": list(required)} if required else {})


# ---------------------------------------------------------------- what the model asks for

_converter = cattrs.Converter()


@_converter.register_structure_hook
def _text(value: object, _: type[str]) -> str:
    """cattrs alone would take 5 for '5'."""
    if not isinstance(value, str):
        raise ValueError("expected a string")
    return value


@_converter.register_structure_hook
def _truth(value: object, _: type[bool]) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


@_converter.register_structure_hook
def _whole(value: object, _: type[int]) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError("expected a whole number")
    return int(value)


@_converter.register_structure_hook
def _number(value: object, _: type[float]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")
    return float(value)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple)


def _several(value: object, kind: Any) -> object:
    """A text is no list of its letters, nor an object one of its keys."""
    if not isinstance(value, list):
        raise ValueError("expected a list")
    made: list[object] = []
    for number, each in enumerate(cast("list[object]", value)):
        try:
            made.append(_converter.structure(each, get_args(kind)[0]))
        except ValueError as error:
            raise ValueError(f"{error} @ $[{number}]") from None
    return tuple(made) if get_origin(kind) is tuple else made


_converter.register_structure_hook_func(_is_list, _several)


def _moment(value: object, kind: type[datetime.datetime | datetime.date | datetime.time]) -> object:
    try:
        return kind.fromisoformat(_text(value, str))
    except ValueError:
        raise ValueError(f"expected a {kind.__name__} in ISO 8601") from None


for _kind in (datetime.datetime, datetime.date, datetime.time):
    _converter.register_structure_hook(_kind, _moment)


_KINDS: dict[str, type[EndCall | TransferToHuman | SendSms | LookUp | ConfirmDetails | StartOver]] = {
    "end_call": EndCall,
    "transfer_to_human": TransferToHuman,
    "send_sms": SendSms,
    "look_up": LookUp,
    "confirm_details": ConfirmDetails,
    "start_over": StartOver,
}
_OTHER_WORDS = {"body": "text", "message": "text"}
"""What models call the text of a message, whatever they are told."""


def understand(call: ToolCall, flow: Flow, state: str) -> Request:
    """The request that `call` makes in `state` of `flow`. Raises BadArguments, with the path of what is wrong."""
    known = {spec.name for spec in specs(flow)}
    if call.name not in known:
        raise BadArguments(f"there is no tool {call.name!r}; there are: {', '.join(sorted(known))}")
    here = flow.states[state]
    if call.name in here.without or (call.name in flow.tools and call.name not in here.tools):
        raise BadArguments(f"{call.name} cannot be used now: {here.goal}")
    if call.arguments is None:
        raise BadArguments(f"the arguments are not a JSON object: {call.problem}")
    if call.name == "save_details":
        return details(call.arguments, flow)
    arguments = call.arguments
    if call.name == "send_sms" and "text" not in arguments:
        arguments = {_OTHER_WORDS.get(key, key): value for key, value in arguments.items()}
    tool = flow.tools.get(call.name)
    request = _structure(arguments, tool.arguments if tool is not None else _KINDS[call.name])
    if isinstance(request, LookUp) and request.topic not in flow.facts:
        raise BadArguments(f"expected one of {', '.join(sorted(flow.facts))} @ $.topic")
    if isinstance(request, SendSms) and request.to not in {"caller", *_phones(flow)}:
        raise BadArguments(f"expected one of {', '.join(['caller', *_phones(flow)])} @ $.to")
    if isinstance(request, ConfirmDetails) and not request.slots:
        raise BadArguments("expected at least one detail @ $.slots")
    return RunTool(tool, request) if tool is not None else cast("Request", request)


@attrs.frozen
class _Wish:
    intent: str = ""


@attrs.frozen
class _Sureness:
    confidence: float | None = attrs.field(default=None, validator=_share)


def details(values: Mapping[str, object], flow: Flow) -> SaveDetails:
    """What was told, as far as it concerns no slot: intent and confidence are checked here. Raises BadArguments; but what the
    caller said is worth more than either, so that with values a wrong one is only left out."""
    plain: dict[str, object] = {key: values[key] for key in ("intent", "confidence") if values.get(key) is not None}
    rest = {key: value for key, value in values.items() if key not in {"intent", "confidence"} and value is not None}
    intent, wrong = _intent(plain, flow)
    if wrong and not any(key in flow.slots for key in rest):
        raise BadArguments(wrong)
    if not rest and not intent:
        raise BadArguments(f"nothing is told: pass the intent or one of {', '.join(flow.slots) or 'none'} @ $")
    left_out = [wrong] if wrong else []
    sure: float | None = None
    try:
        sure = cast("_Sureness", _structure(plain, _Sureness)).confidence
    except BadArguments as error:
        left_out.append(str(error))
    return SaveDetails(rest, intent, sure, "; ".join(left_out))


def _intent(plain: Mapping[str, object], flow: Flow) -> tuple[str, str]:
    """The wish that is named, and what is wrong with it: one of the two is empty."""
    try:
        named = cast("_Wish", _structure(plain, _Wish)).intent
    except BadArguments as error:
        return "", str(error)
    if named and named not in flow.intents:
        return "", f"expected one of {', '.join(flow.intents) or 'none'} @ $.intent"
    return named, ""


def arguments_from(tool: PythonTool, values: Mapping[str, object]) -> dict[str, object]:
    """The arguments of `tool` out of the typed `values` of the same names. Raises BadArguments if one is missing."""
    fields = cast("tuple[attrs.Attribute[object], ...]", attrs.fields(tool.arguments))
    missing = [field.name for field in fields if field.default is attrs.NOTHING and field.name not in values]
    if missing:
        raise BadArguments(f"nothing is known of {', '.join(missing)}")
    return {field.name: values[field.name] for field in fields if field.name in values}


def _structure(arguments: Mapping[str, object], kind: type) -> object:
    try:
        return cast("object", _converter.structure(arguments, kind))
    except Exception as error:  # cattrs raises groups of whatever hooks and validators raised
        raise BadArguments("; ".join(sentences(error))) from error
