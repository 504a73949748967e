from __future__ import annotations

from pathlib import Path

import pytest

from dbt_notifier.kinds.slack import Slack
from dbt_notifier.messages import Outcome
from dbt_notifier.secret_files import SecretError, SecretFiles
from tests.support.notifier_messages import MODEL_ERROR
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_sends import run
from tests.support.notifier_servers import serve_http


def test_a_key_is_read_without_the_newline_at_its_end(tmp_path: Path) -> None:
    secrets = write_secret(tmp_path / "team", url=" https://host/x\n")
    assert secrets.read("url") == "https://host/x"


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_what_is_not_there_is_named(tmp_path: Path, content: str | None) -> None:
    secrets = write_secret(tmp_path / "team", **({} if content is None else {"url": content}))
    assert secrets.find("url") is None
    with pytest.raises(SecretError, match="the Secret of channel team has no key url: add it"):
        secrets.read("url")


def test_a_channel_without_a_secret_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="the Secret of channel team has no key url"):
        SecretFiles(tmp_path / "team").read("url")


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    secrets = write_secret(tmp_path / "team")
    (tmp_path / "team" / "url").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="key url in the Secret of channel team is no text"):
        secrets.read("url")


def test_a_secret_that_is_changed_counts_at_the_next_send(tmp_path: Path) -> None:
    with serve_http() as before, serve_http() as after:
        secrets = write_secret(tmp_path, url=f"{before.url}/a")
        first = run(Slack().send(MODEL_ERROR, secrets))
        write_secret(tmp_path, url=f"{after.url}/b")
        second = run(Slack().send(MODEL_ERROR, secrets))
        assert (first.outcome, second.outcome) == (Outcome.SENT, Outcome.SENT)
        assert [got.path for got in (*before.got, *after.got)] == ["/a", "/b"]
        assert len(before.got) == 1
