"""Why the loopback model refuses a client event, in the codes of the Realtime API. Pure."""

import attrs


@attrs.frozen
class Problem:
    """Why an event is refused; `param` is the path of what is wrong."""

    code: str
    param: str | None
    message: str


def missing(path: str) -> Problem:
    """Something required is not there."""
    return Problem("missing_required_parameter", path, f"Missing required parameter: '{path}'.")


def unknown(path: str) -> Problem:
    """There is no such field."""
    return Problem("unknown_parameter", path, f"Unknown parameter: '{path}'.")


def invalid(path: str, expected: str) -> Problem:
    """A value that is not allowed; `expected` says what is."""
    return Problem("invalid_value", path, f"Invalid value for '{path}': expected {expected}.")


def wrong_type(path: str, expected: str) -> Problem:
    """A value of another type than `expected`."""
    return Problem("invalid_type", path, f"Invalid type for '{path}': expected {expected}.")


def too_long(path: str, at_most: int) -> Problem:
    """A string of more than `at_most` characters."""
    text = f"Invalid '{path}': string too long. Expected a string with maximum length {at_most}."
    return Problem("string_above_max_length", path, text)
