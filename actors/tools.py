"""The tools of the agent: what the model is told of them, and their arguments as typed values or a precise correction."""

from collections.abc import Mapping

import attrs
import cattrs

from actors.messages import ToolCall, ToolSpec

REASON_AT_MOST = 500


def _short(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if len(value) > REASON_AT_MOST:
        raise ValueError(f"expected at most {REASON_AT_MOST} characters")


@attrs.frozen
class EndCall:
    """The conversation is over."""

    reason: str = attrs.field(default="", validator=_short)


@attrs.frozen
class TransferToHuman:
    """The caller is to speak with a person."""

    reason: str = attrs.field(default="", validator=_short)


@attrs.frozen
class LookUp:
    """A fact of the flow is asked for; `topic` is one of its names."""

    topic: str


Request = EndCall | TransferToHuman | LookUp


class BadArguments(ValueError):
    """A tool call that cannot be carried out; the text tells the model what to mend."""


_converter = cattrs.Converter()


@_converter.register_structure_hook
def _text(value: object, _: type[str]) -> str:
    """cattrs alone would take 5 for '5'."""
    if not isinstance(value, str):
        raise ValueError("expected a string")
    return value


def specs(facts: Mapping[str, str]) -> tuple[ToolSpec, ...]:
    """The tools as the model is told of them. `look_up` exists only if there are facts."""
    reason = {"type": "object", "properties": {"reason": {"type": "string"}}}
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
    ]
    if facts:
        topic = {"type": "string", "enum": sorted(facts)}
        tools.append(
            ToolSpec(
                "look_up",
                "Looks up a fact. Use it instead of guessing.",
                {"type": "object", "properties": {"topic": topic}, "required": ["topic"]},
            )
        )
    return tuple(tools)


_KINDS: dict[str, type[EndCall] | type[TransferToHuman] | type[LookUp]] = {
    "end_call": EndCall,
    "transfer_to_human": TransferToHuman,
    "look_up": LookUp,
}


def understand(call: ToolCall, facts: Mapping[str, str]) -> Request:
    """The request that `call` makes. Raises BadArguments, with the path of what is wrong."""
    kind = _KINDS.get(call.name)
    if kind is None or (kind is LookUp and not facts):
        raise BadArguments(f"there is no tool {call.name!r}")
    if call.arguments is None:
        raise BadArguments(f"the arguments are not a JSON object: {call.problem}")
    try:
        request = _converter.structure(call.arguments, kind)
    except Exception as error:  # cattrs raises groups of whatever hooks and validators raised
        raise BadArguments("; ".join(cattrs.transform_error(error))) from error
    if isinstance(request, LookUp) and request.topic not in facts:
        raise BadArguments(f"expected one of {', '.join(sorted(facts))} @ $.topic")
    return request
