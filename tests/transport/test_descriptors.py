"""The descriptors that a full server needs: asked for, and missed in the log where they cannot be had."""

import resource

import pytest
import structlog

from transport import descriptors

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "then", "told"),
    [
        (1024, 524_288, 1800, False),  # as systemd starts a service
        (1024, INFINITY, 1800, False),
        (1024, 1500, 1500, True),
        (1024, 1024, 1024, True),
        (4096, 4096, 4096, False),
        (INFINITY, INFINITY, INFINITY, False),
    ],
)
def test_a_server_may_open_what_all_its_calls_need_or_says_that_it_may_not(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, then: int, told: bool
):
    limits = {resource.RLIMIT_NOFILE: (soft, hard)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    with structlog.testing.capture_logs() as lines:
        descriptors.provide_for(400)
    assert limits == {resource.RLIMIT_NOFILE: (then, hard)}
    assert [line["event"] for line in lines] == ["too_few_descriptors"] * told
