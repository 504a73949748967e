"""What counts as a secret, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from dbt_runner.project_words import survey
from dbt_runner.redact import Redactor
from dbt_runner.secret_sources import environment_secrets, profile_secrets, scan_profiles

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
    for harmless in (
        "analyst",
        "/keys/some.pem",
        "https://login.example.com",
        "bot@example.com",
        "someone",
        "abc12",
    ):
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


def test_what_a_variable_holds_is_not_in_the_open() -> None:
    """Or who sets SCHEMA could have the password shown."""
    output = {
        "schema": "{{ env_var('SCHEMA') }}",
        "password": "the-secret",
        "user": "{{ env_var('X', 'analyst') }}",
    }
    found = profile_secrets(
        {"shop": {"outputs": {"prod": output}}}, {"SCHEMA": "the-secret"}, also={"analyst"}
    )
    assert found == {"the-secret", "analyst"}


def test_a_secret_in_a_literal_of_json_is_not_in_the_open() -> None:
    """A key that says nothing may hold JSON whose keys do."""
    found = profile_secrets(
        {
            "extra": '{"password": "the-secret", "user": "analyst"}',
            "password": "the-secret",
            "token": "analyst",
        },
        {},
    )
    assert found == {"the-secret"}


FILES = ("select password_hash from {{ ref('user_passwords') }}", "macros: [grant_password]")
PROFILE = "shop: {outputs: {prod: {password: password, dbname: password_reset}}}"


def redactor_of(
    *texts: str, profile: str = PROFILE, word: str = "password", **env: str
) -> Redactor:
    redactor = Redactor([word])
    return redactor.knowing(survey(redactor, texts, profile, env))


@pytest.mark.parametrize(
    "text",
    [
        "model.shop.user_passwords",
        "table password_reset.user_passwords",
        "not_null_user_passwords_password_hash",
        "not_null_user_passwo_0123456789abcdef0123456789abcdef",
        "not_null_user_password_0123456789abcdef0123456789abcdef",
        json.dumps({"msg": "in\nuser_passwords"}),
    ],
)
def test_longer_words_of_the_project_stay_in_logs(text: str) -> None:
    redactor = redactor_of(*FILES)
    assert redactor.text(text) == text
    assert redactor.data(b"\xff " + text.encode()) == b"\xff " + text.encode()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("password is password", "***** is *****"),
        ("column password_salt", "column *****_salt"),
        ("password_0123456789abcdef0123456789abcdef", "*****_0123456789abcdef0123456789abcdef"),
        ("postgresql://bot:password@db/user_passwords", "postgresql://bot:*****@db/user_passwords"),
    ],
)
def test_the_secret_itself_does_not(text: str, clean: str) -> None:
    assert redactor_of(*FILES[1:], "user_passwords").text(text) == clean


MANIFEST: dict[str, Any] = {
    "metadata": {"adapter_type": "duckdb", "env": {"NOTE": "password"}},
    "nodes": {
        "model.shop.user_passwords": {
            "columns": {"password": {"description": "the password of the user"}},
            "config": {"meta": {"message": "password", "password": 1}},
            "compiled_code": "select password, password_hash, 'password'",
            "raw_code": "select password",
        }
    },
}


def cleaned(redactor: Redactor, folder: Path, document: object = MANIFEST) -> Any:
    path = folder / "manifest.json"
    path.write_text(json.dumps(document))
    redactor.document(path)
    return json.loads(path.read_text())


ASKING = (
    "{{ env_var('PGPASSWORD') }}",
    "{{ env_var(name) }}",
    "{{ env_var('PG' ~ 'PASSWORD') }}",
    "{% set ask = env_var %}{{ ask('PG' ~ 'PASSWORD') }}",
    'meta: "{{ env_var(\\"PGPASSWORD\\") }}"',
    "{{ ask('PGPASSWORD') }}",
)


@pytest.mark.parametrize("env", [{}, {"PGPASSWORD": "password"}])
def test_what_dbt_got_by_parsing_stays_unless_the_project_asks_for_it(
    tmp_path: Path, env: dict[str, str]
) -> None:
    redactor = redactor_of("{{ env_var('OTHER') }} {{ env_var(\"OTHER\", 'x') }}", **env)
    found = cleaned(redactor, tmp_path)
    node, before = (
        found["nodes"]["model.shop.user_passwords"],
        MANIFEST["nodes"]["model.shop.user_passwords"],
    )
    assert node == {**before, "compiled_code": "select *****, *****_hash, '*****'"}
    assert found["metadata"]["env"] == {"NOTE": "*****"}
    assert not redactor.may_be_asked_for(b"password")


@pytest.mark.parametrize("asking", ASKING)
def test_a_secret_that_the_project_may_ask_for_is_starred_unless_it_is_its_word(
    tmp_path: Path, asking: str
) -> None:
    for secret in ("password", "canary-4711-secret"):
        document = json.loads(json.dumps(MANIFEST).replace("password", secret))
        redactor = redactor_of(asking, word=secret, PGPASSWORD=secret)
        assert secret not in json.dumps(cleaned(redactor, tmp_path, document))
        assert redactor.may_be_asked_for(secret.encode())
        known = cleaned(
            redactor_of(asking, secret, word=secret, PGPASSWORD=secret), tmp_path, document
        )
        raw = {**document["nodes"], "compiled_code": ""}
        assert {**known["nodes"], "compiled_code": ""}.keys() == raw.keys()
        assert secret in known["nodes"][f"model.shop.user_{secret}s"]["columns"]


def test_a_secret_that_the_profile_takes_for_a_name_is_starred(tmp_path: Path) -> None:
    profile = "shop:\n  schema: \"{{ env_var('SCHEMA') }}\"\n  password: \"{{ env_var('PW') }}\""
    leaky = redactor_of(profile=profile, word="the-secret", SCHEMA="the-secret", PW="the-secret")
    row = {"results": [{"relation_name": '"db"."the-secret"', "unique_id": "model.shop.x"}]}
    assert cleaned(leaky, tmp_path, row)["results"][0]["relation_name"] == '"db"."*****"'
    named = redactor_of(profile=profile, SCHEMA="password_reset", PW="password")
    row = {
        "results": [
            {"relation_name": '"db"."password_reset"', "message": "password: password_reset"}
        ]
    }
    assert cleaned(named, tmp_path, row)["results"][0] == {
        **row["results"][0],
        "message": "*****: password_reset",
    }


@pytest.mark.parametrize(
    ("content", "lost"),
    [
        ({"nodes": {"model.shop.x": {"schema": "the-secret"}}}, ["*****"]),
        ({"nodes": {"model.shop.x": {"database": "the-secret"}}}, ["*****"]),
        ({"nodes": {"model.shop.the-secret": {}}}, ["model.shop.*****"]),
        ({"nodes": {"model.shop.x": {"columns": {"the-secret": {}}}}}, ["*****"]),
        ({"nodes": {"model.shop.x": {"depends_on": {"nodes": ["a.the-secret"]}}}}, ["a.*****"]),
        ({"nodes": {"model.shop.x": {"fqn": ["shop", "the-secret"]}}}, ["*****"]),
        ({"results": [{"unique_id": "a.the-secret", "relation_name": None}]}, ["a.*****"]),
        ({"results": [{"relation_name": '"the-secret"."x"'}]}, ['"*****"."x"']),
        # No names: nothing is found by them.
        ({"nodes": {"model.shop.x": {"description": "the-secret"}}}, []),
        ({"nodes": {"model.shop.x": {"config": {"meta": {"name": "the-secret"}}}}}, []),
        ({"nodes": {"model.shop.x": {"meta": {"the-secret": {"schema": "the-secret"}}}}}, []),
        ({"results": [{"message": "the-secret", "adapter_response": {"name": "the-secret"}}]}, []),
    ],
)
def test_names_that_cannot_be_kept_are_told(
    tmp_path: Path, content: object, lost: list[str]
) -> None:
    """Of a secret that the project asks for, and that is no word of its own."""
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    redactor = redactor_of("{{ env_var('PW') }}", word="the-secret", PW="the-secret")
    assert redactor.document(path) == lost
    assert "the-secret" not in path.read_text()
    path.write_text(json.dumps(content))
    assert redactor_of(word="the-secret").document(path) == []  # none that it asks for
    path.write_text(json.dumps(content))
    known = redactor_of("{{ env_var('PW') }} the-secret", word="the-secret", PW="the-secret")
    assert known.document(path) == []


@pytest.mark.parametrize("word", ["success", "results", "status", "manifest", "incremental"])
def test_words_of_dbt_stay_where_they_are_read_back(tmp_path: Path, word: str) -> None:
    content = {
        "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json"},
        "results": [{"status": "success", "config": {"materialized": "incremental"}}],
    }
    assert cleaned(redactor_of(word=word), tmp_path, content) == content


def test_what_is_no_json_is_redacted_as_text(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text('{"half": "password')
    redactor_of().document(path)
    assert path.read_text() == '{"half": "*****'


def test_entries_of_one_line_are_told_apart() -> None:
    flow = "{user: someone, password: first-secret, token: second-secret, x_key: a, pwd: my:third}"
    assert scan_profiles(flow, {}) >= {"first-secret", "second-secret", "my:third"}
    assert scan_profiles("password: with, a comma # and a comment", {}) >= {"with, a comma", "with"}


def test_a_secret_within_a_secret_is_shown_by_neither() -> None:
    text = "private_key: |\n  token: |\n    innermost\n\n  last-line\nopen: shown"
    assert scan_profiles(text, {}) >= {"token: |", "innermost", "last-line"}
    assert scan_profiles("token: token: token: whole", {}) == {"token: token: whole"}


def test_what_yaml_repeats_is_a_secret_in_each_of_its_places() -> None:
    shared = ["aliased-secret"]
    assert profile_secrets({"password": shared, "port": 1}, {}) == {"aliased-secret"}
    assert profile_secrets({"password": shared, "schema": shared}, {}) == set()
