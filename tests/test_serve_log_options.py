"""Options of the log come from the environment, and the access log takes what they want and nothing a client typed."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ftdeploy.errors import ServeError
from ftdeploy.serve.log_options import AccessLog, LogOptions, read_log_options


def test_without_any_variable_there_is_no_access_log() -> None:
    """Blank is as good as not set."""
    assert (
        read_log_options({}) == read_log_options({"FTDEPLOY_ACCESS_LOG": " ", "FTDEPLOY_LOG_LEVEL": ""}) == LogOptions()
    )
    assert LogOptions().share == 0
    assert not LogOptions().slow
    assert LogOptions().number == logging.INFO


@pytest.mark.parametrize(
    ("stated", "share", "slow"),
    [("off", 0, False), ("ALL", 1, False), ("slow", 0, True), ("0.25", 0.25, True), ("1", 1, True), (".5", 0.5, True)],
)
def test_access_is_off_slow_all_or_a_share(stated: str, share: float, slow: bool) -> None:
    """A share takes the slow ones as well."""
    options = read_log_options({"FTDEPLOY_ACCESS_LOG": stated, "FTDEPLOY_SLOW_SECONDS": "0.2"})
    assert (options.share, options.slow, options.slow_seconds) == (share, slow, 0.2)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [("LOG_LEVEL", "inof", "did you mean 'info'"), ("LOG_FORMAT", "xml", "auto, json, text"),
     ("ACCESS_LOG", "slwo", "did you mean 'slow'"), ("ACCESS_LOG", "1.5", "bare number"),
     ("ACCESS_LOG", "-1", "off, slow, all"), ("SLOW_SECONDS", "1s", "bare number"), ("SLOW_SECONDS", "nan", "bare"),
     ("SLOW_SECONDS", "inf", "bare"), ("LOG_LEVEL", "trace", "debug, info, warning, error")],
)  # fmt: skip
def test_a_wrong_value_is_an_error_that_says_what_there_is(name: str, value: str, hint: str) -> None:
    """Nothing is guessed. There is no level that would write headers."""
    with pytest.raises(ServeError, match=f"FTDEPLOY_{name} is") as caught:
        read_log_options({f"FTDEPLOY_{name}": value})
    assert hint in caught.value.what + caught.value.fix


def noted(
    caplog: pytest.LogCaptureFixture, requests: list[tuple[int, float]], **options: Any
) -> list[tuple[int, float]]:
    """Which of some requests (status, seconds) the access log takes."""
    writer = AccessLog(LogOptions(**options))
    with caplog.at_level(logging.INFO, "ftdeploy.access"):
        for status, seconds in requests:
            writer.note("/predict", "POST", status, seconds, "r1")
    return [(record.__dict__["status"], record.__dict__["seconds"]) for record in caplog.records]


REQUESTS = [(200, 0.1), (200, 1.0), (422, 0.1), (503, 0.1), (200, 3.0)]


def test_all_takes_all_and_slow_takes_the_slow_and_the_failed(caplog: pytest.LogCaptureFixture) -> None:
    """At the threshold is over it; what the service answers with 5xx is worth a line however fast it is."""
    assert noted(caplog, REQUESTS, share=1.0) == REQUESTS
    caplog.clear()
    assert noted(caplog, REQUESTS, slow=True) == [(200, 1.0), (503, 0.1), (200, 3.0)]
    caplog.clear()
    assert noted(caplog, REQUESTS) == []


def test_a_share_is_about_that_share_and_every_slow_one(caplog: pytest.LogCaptureFixture) -> None:
    """Of 2000 requests a quarter, within six standard deviations."""
    found = noted(caplog, [(200, 0.1)] * 2000 + [(200, 2.0)] * 10, share=0.25, slow=True)
    assert found.count((200, 2.0)) == 10
    assert 384 < found.count((200, 0.1)) < 616


def test_a_line_holds_route_method_status_time_and_request_id(caplog: pytest.LogCaptureFixture) -> None:
    """As words and as fields. A method that nobody knows is not repeated."""
    writer = AccessLog(LogOptions(share=1.0))
    with caplog.at_level(logging.INFO, "ftdeploy.access"):
        writer.note("/predict", "POST", 200, 0.0123456789, "abc-1")
        writer.note("other", "SECRETWORD", 404, 0.001, "")
    first, second = caplog.records
    assert first.getMessage() == "POST /predict 200 12.3 ms abc-1"
    fields = {"route": "/predict", "method": "POST", "status": 200, "seconds": 0.012346, "request_id": "abc-1"}
    assert fields.items() <= first.__dict__.items()
    assert second.__dict__["method"] == "OTHER"
    assert "request_id" not in second.__dict__
    assert "SECRETWORD" not in second.getMessage()
