"""What is taken for a secret, and what is not. The secrets are made up; each is put together here,
so that no scanner takes this file for a leak.
"""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.planning.policy.secret_shapes import find

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
JWT = ".".join(["eyJ" + LETTERS[:16], "eyJ" + LETTERS[:20], LETTERS])
PEM = f"-----BEGIN RSA {'PRIVATE'} KEY-----\nMIIE\n"


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({"db_password": "hunter2"}, ["vars.db_password"]),
        ({"password": "hunter"}, ["vars.password"]),
        ({"PGPASSWORD": "postgres"}, ["vars.PGPASSWORD"]),
        ({"dbPassword": "x y"}, ["vars.dbPassword"]),
        ({"DbPasswd": "x1"}, ["vars.DbPasswd"]),
        ({"smtp-pwd": "x1"}, ["vars.smtp-pwd"]),
        ({"client_secret": "not very"}, ["vars.client_secret"]),
        ({"clientSecret": "not-very"}, ["vars.clientSecret"]),
        ({"api_token": "abc123"}, ["vars.api_token"]),
        ({"apiKey": "k-12345"}, ["vars.apiKey"]),
        ({"APIKEY": "k-12345"}, ["vars.APIKEY"]),
        ({"snowflake_private_key": "MIIE1"}, ["vars.snowflake_private_key"]),
        ({"AWS_SECRET_ACCESS_KEY": "abc/1"}, ["vars.AWS_SECRET_ACCESS_KEY"]),
        ({"DBT_ENV_SECRET_GIT": "abc1"}, ["vars.DBT_ENV_SECRET_GIT"]),
        (
            {"warehouse": {"hosts": [{"name": "a", "password": "b"}]}},
            ["vars.warehouse.hosts[0].password"],
        ),
        ({"passwords": {"password": ["", "b"]}}, ["vars.passwords.password[1]"]),
        ({"note": PEM}, ["vars.note"]),
        ({"note": f"key {'AKIA'}{'A1' * 8}."}, ["vars.note"]),
        ({"note": f"{'ghp'}_{LETTERS}"}, ["vars.note"]),
        ({"note": f"{'github_pat'}_{LETTERS}"}, ["vars.note"]),
        ({"note": f"{'glpat'}-{LETTERS}"}, ["vars.note"]),
        ({"note": f"{'xoxb'}-{LETTERS}"}, ["vars.note"]),
        ({"note": f"{'dapi'}{'0123abcd' * 4}"}, ["vars.note"]),
        ({"note": f"{'AIza'}{LETTERS[:35]}"}, ["vars.note"]),
        ({"note": f"Bearer {JWT}"}, ["vars.note"]),
        ({"dsn": "postgresql://bot:pa55@db:5432/shop"}, ["vars.dsn"]),
        ({"dsn": "see https://:pa55@proxy"}, ["vars.dsn"]),
        ({"a b": {"password": "x1"}}, ["vars[entry 1].password"]),
        ({"ok": 1, f"{'glpat'}-{LETTERS}": True}, ["vars[key 2]"]),
        ([{"password": "x1"}], ["vars[0].password"]),
    ],
)
def test_secrets_are_named_by_their_paths(value: Any, paths: list[str]) -> None:
    found = list(find(value, "vars"))
    assert [path for path, _ in found] == paths
    assert all(looks for _, looks in found)


@pytest.mark.parametrize(
    "value",
    [
        {"token_column": "id"},
        {"secret_santa": True},
        {"secret_santa": "2024-12-05"},
        {"password": ""},
        {"password": None},
        {"has_password": True},
        {"has_password": "true"},
        {"password_hash_column": "pw_hash"},
        {"token": "ETH"},
        {"payment_token": "stripe_token"},
        {"max_tokens": 4096},
        {"tokens": ["ETH", "USDC"]},
        {"primary_key": "order_id1"},
        {"surrogate_key": ["a1", "b2"]},
        {"account_key": "acct1"},
        {"partition_key": "2024-01-01"},
        {"sort_key": "created_at_1"},
        {"secrets_schema": "vault1"},
        {"password_min_length": "12"},
        {"tokenizer": "cl100k_base"},
        {"api_key_column": "api_key_1"},
        {"password": "{{ env_var('DB_PASSWORD') }}"},
        {"password": "${DB_PASSWORD}"},
        {"password": "$(DB_PASSWORD)"},
        {"password": "<from the Secret>"},
        {"password": "********"},
        {"PASSWORD_FILE": "/var/run/secrets/1"},
        {"private_key": "/keys/rsa_1.p8"},
        {"GOOGLE_APPLICATION_CREDENTIALS": "/gcp/key1.json"},
        {"secret": "projects/123/secrets/db/versions/1"},
        {"secret": "arn:aws:secretsmanager:eu-west-1:1:secret:db"},
        {"token": "https://login.example.com/oauth2/v2"},
        {"pwd": "/project"},
        {"url": "https://example.com:8080/a@b"},
        {"url": "postgresql://bot:${PASSWORD}@db/shop"},
        {"url": "postgresql://bot:****@db/shop"},
        {"bucket": "s3://bucket/prefix"},
        {"mail": "data@example.com"},
        {"ds": "2024-01-01T00:00:00"},
        {"hash": "d41d8cd98f00b204e9800998ecf8427e"},
        {"text": "the password is in the Secret warehouse"},
        {"certificate": "-----BEGIN CERTIFICATE-----\nMIIE\n"},
        {
            "compass": "north1",
            "passenger": "x1",
            "keyword": "sale1",
            "secretary": "Jo 1",
            "monkey": "m1",
        },
        "a plain string",
        None,
        3,
    ],
)
def test_what_is_no_secret_passes(value: Any) -> None:
    assert list(find(value, "vars")) == []
