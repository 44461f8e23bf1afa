"""What the whole suite shares: routes that are compiled once, and not anew for each of its thousand applications."""

from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule

compile_builder = getattr(Rule, "_compile_builder", None)
builders: dict[tuple[object, ...], Callable[..., tuple[str, str]]] = {}


def compiled_once(rule: Any, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
    """What builds the URL of `rule`: of a rule without variables it depends on nothing but its text."""
    assert compile_builder is not None
    if rule.arguments or rule.defaults:
        return compile_builder(rule, append_unknown)
    which = (rule.rule, rule.merge_slashes, append_unknown, *rule._trace)
    if which not in builders:
        builders[which] = compile_builder(rule, append_unknown)
    return builders[which]


if compile_builder is not None:  # it is Werkzeug's own, and most of what it costs to make an application
    Rule._compile_builder = compiled_once  # type: ignore[method-assign]
