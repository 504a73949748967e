"""What counts as a secret, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from dbt_runner.redact import Redactor, environment_secrets, profile_secrets, scan_profiles

KEY = "-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END KEY-----"
ENV = {"PW": "from-environment", "USER_NAME": "analyst"}

PROFILES = """
shop:
  outputs:
    prod:
      type: postgres
      user: "{{ env_var('USER_NAME') }}"
      password: "{{ env_var('PW') }}"
      pass: 'it''s quoted'   # a comment
      token: plain-token-1   # a comment
      client_secret: "dou\\"ble-quoted"
      threads: 4
      token_uri: https://login.example.com
      private_key_path: /keys/some.pem
    flow: {type: postgres, password: in-a-flow, port: 5432}
    fallback: {password: "{{ env_var('MISSING', 'the-default') }}"}
    bigquery:
      private_key: |
        MIIEvQIBADAN
        BgkqhkiG9w0B
      keyfile_json: {client_email: bot@example.com, private_key: "key-in-json-form"}
    motherduck: {path: "md:shop?motherduck_token=embedded-token&x=1"}
    url: {host: "postgresql://bot:url-password@warehouse/shop"}
    duckdb:
      secrets:
        - {type: s3, key_id: someone, secret: s3-secret-value}
    short: {password: abc12}
    public: {type: postgres, password: postgres}
"""

SECRETS = {
    "from-environment",
    "it's quoted",
    "plain-token-1",
    'dou"ble-quoted',
    "in-a-flow",
    "the-default",
    "key-in-json-form",
    "embedded-token",
    "url-password",
    "s3-secret-value",
}


@pytest.mark.parametrize(
    "found",
    [profile_secrets(yaml.safe_load(PROFILES), ENV), scan_profiles(PROFILES, ENV)],
    ids=["parsed", "scanned"],
)
def test_secrets_are_found(found: set[str]) -> None:
    redactor = Redactor(found)
    assert redactor.secrets >= SECRETS
    for line in ("MIIEvQIBADAN", "BgkqhkiG9w0B", *SECRETS):
        assert line not in redactor.text(f"before {line} after")
    for harmless in ("analyst", "/keys/some.pem", "https://login.example.com", "bot@example.com", "someone", "abc12"):
        assert redactor.text(harmless) == harmless


def test_a_value_that_is_also_no_secret_stays() -> None:
    assert "postgres" not in profile_secrets(yaml.safe_load(PROFILES), ENV, also={"postgres"})


def test_variables_are_secret_by_their_names() -> None:
    env = {
        "DBT_ENV_SECRET_ANY": "one-secret",
        "PGPASSWORD": "two-secret",
        "SNOWFLAKE_API_KEY": "three-secret",
        "PRIMARY_KEY": "customer_id",
        "TOKEN_FILE": "/var/run/token",
        "PATH": "/usr/bin",
    }
    assert environment_secrets(env) == {"one-secret", "two-secret", "three-secret"}


@pytest.mark.parametrize("secret", ['pa"ss\\word', "pä$$wörd", "a b&c/d+e%f", KEY])
def test_every_spelling_is_replaced(secret: str) -> None:
    redactor = Redactor([secret])
    for text in (
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        quote(secret, safe=""),
        repr(secret),
    ):
        cleaned = redactor.text(text)
        assert "*****" in cleaned
        for line in secret.splitlines():
            assert line not in cleaned
        assert redactor.data(text.encode()).decode() == cleaned


def test_json_stays_json() -> None:
    redactor = Redactor(['pa"ss\\word'])
    assert json.loads(redactor.text(json.dumps({"sql": 'x pa"ss\\word y'}))) == {"sql": "x ***** y"}


def test_only_files_with_a_secret_are_rewritten(tmp_path: Path) -> None:
    leaky, clean, empty = tmp_path / "leaky", tmp_path / "clean", tmp_path / "empty"
    leaky.write_bytes(b"\xff the-secret \xfe")
    clean.write_bytes(b"nothing")
    empty.touch()
    before = clean.stat().st_ino
    for path in (leaky, clean, empty):
        Redactor(["the-secret"]).file(path)
    assert leaky.read_bytes() == b"\xff ***** \xfe"
    assert clean.stat().st_ino == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean", "empty", "leaky"]


def test_a_linked_file_is_rewritten_in_one_place_only(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("the-secret")
    other.hardlink_to(one)
    Redactor(["the-secret"]).file(one)
    assert (one.read_text(), other.read_text()) == ("*****", "the-secret")


def test_without_secrets_nothing_changes() -> None:
    assert Redactor([]).text("text") == "text"
    assert Redactor(["  ", "abc"]).data(b"abc") == b"abc"
