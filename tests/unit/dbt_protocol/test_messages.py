"""What a pod has written is read, or refused with one error, however hostile it is."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from dbt_protocol.json_input import parse_json
from dbt_protocol.messages import ProtocolError
from dbt_protocol.plans import PreparePlan
from dbt_protocol.summaries import Progress, Summary, UploadSummary

TOO_DEEP = "[" * 100_000
# Python's parser follows these, so what comes after the parser meets them.
DEEP = "[" * 500 + "]" * 500


@pytest.mark.parametrize("text", [TOO_DEEP, '{"a":' * 100_000, "", "{", "\ud800"])
def test_json_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_json_is_read_from_bytes_too() -> None:
    assert parse_json(b'{"a": [1]}') == parse_json('{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize("kind", [Summary, UploadSummary])
@pytest.mark.parametrize("deep", [TOO_DEEP, DEEP])
def test_a_message_of_hostile_depth_is_a_protocol_error(
    kind: type[Summary | UploadSummary], deep: str
) -> None:
    with pytest.raises(ProtocolError):
        kind.from_json(deep)
    for field in fields(kind):
        with pytest.raises(ProtocolError):
            kind.from_json(f'{{"protocol":1,"{field.name}":{deep}}}')


@pytest.mark.parametrize("deep", [TOO_DEEP, DEEP])
def test_progress_of_hostile_depth_is_a_protocol_error(deep: str) -> None:
    with pytest.raises(ProtocolError):
        Progress.from_json(f'{{"done":1,"total":2,"running":[{deep}]}}')


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "1.0", '"1"', "true", "null", "4"])
def test_a_protocol_that_is_no_number_of_ours_is_refused(number: str) -> None:
    with pytest.raises(ProtocolError):
        Summary.from_json(f'{{"protocol": {number}}}')


@pytest.mark.parametrize("value", [1, "yes", None, [True]])
def test_what_is_no_truth_value_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError, match="whole must be true or false"):
        Summary.from_json(json.dumps({"protocol": 1, "whole": value}))


@pytest.mark.parametrize("error", ["x" * 100_000, "dbt.log.\udcff", '\n"\\' * 1000])
def test_what_a_store_says_fits_into_a_termination_message(error: str) -> None:
    text = UploadSummary("s3://dbt/runs", error=error, state="Uploaded").to_json()
    assert len(text.encode()) <= 4096, "the kubelet cuts it there"
    assert UploadSummary.from_json(text).error


@pytest.mark.parametrize(
    ("protocol", "known"), [(0, False), (1, True), (2, True), (3, True), (4, False)]
)
def test_a_message_of_a_protocol_that_is_not_known_is_refused(protocol: int, known: bool) -> None:
    text = json.dumps({"protocol": protocol, "source": "image"})
    if known:
        assert PreparePlan.from_json(text).protocol == protocol
    else:
        with pytest.raises(ProtocolError, match=f"protocol {protocol} is not one of 1 to 3"):
            PreparePlan.from_json(text)
