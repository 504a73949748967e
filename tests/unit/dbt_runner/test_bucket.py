"""Whom the bucket's client trusts, and what of the login goes into its requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dbt_protocol.plans import Bucket, PreparePlan
from dbt_runner.bucket import BucketError, MinioStore, UploadError
from dbt_runner.layout import Layout
from dbt_runner.prepare import restore
from dbt_runner.volume import Volume
from tests.support.certificates import Tls, tls
from tests.support.s3_stub import KEYS, Stub, serve
from tests.support.sidecars import Sidecar, finish_step, new_layout

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def signed() -> Tls:
    return tls(HOST)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as found:
        yield found


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return new_layout(tmp_path)


def put(bucket: Bucket, env: dict[str, str], folder: Path) -> None:
    """Upload an object, and see that it can be had again."""
    store = MinioStore(bucket, env)
    (folder / "up").write_bytes(b"{}")
    with (folder / "up").open("rb") as file:
        store.put("x.json", file, 2, "application/json")
    assert store.get("x.json", Volume(folder), folder / "down")
    assert (folder / "down").read_bytes() == b"{}"


def test_the_store_makes_a_copy_and_is_asked_for_it(stub: Stub) -> None:
    stub.objects["runs/one/manifest.json"] = b"{}"
    store = MinioStore(stub.make_bucket(), KEYS)
    store.copy("runs/one/manifest.json", "state/manifest.json", 2)
    assert stub.objects["state/manifest.json"] == b"{}"
    with pytest.raises(UploadError, match="holds 2 bytes of 3"):
        store.copy("runs/one/manifest.json", "state/manifest.json", 3)
    with pytest.raises(UploadError, match=r"manifest\.json"):
        store.copy("runs/two/manifest.json", "state/manifest.json", 2)


def test_a_ca_of_the_projects_own_is_trusted_beside_the_usual_ones(
    tmp_path: Path, signed: Tls
) -> None:
    (tmp_path / "ca").write_text(signed.ca)
    other = tls(HOST)
    (tmp_path / "usual").write_text(other.ca)
    env = KEYS | {"SSL_CERT_FILE": str(tmp_path / "usual")}
    with serve(signed) as own:
        put(own.make_bucket(ca=str(tmp_path / "ca")), env, tmp_path)
        with pytest.raises(UploadError, match="SSLError, the store cannot be reached"):
            put(own.make_bucket(), env, tmp_path)
        assert list(own.objects) == ["x.json"]
    with serve(other) as usual:
        put(usual.make_bucket(ca=str(tmp_path / "ca")), env, tmp_path)


@pytest.mark.parametrize("text", ["", "no certificate", None], ids=["empty", "words", "missing"])
def test_a_ca_that_cannot_be_read_is_named_with_its_field(
    tmp_path: Path, layout: Layout, stub: Stub, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "ca").write_text(text)
    bucket = stub.make_bucket(ca=str(tmp_path / "ca"))
    with pytest.raises(BucketError, match=r"artifacts\.caSecretRef") as error:
        MinioStore(bucket, KEYS)
    assert error.value.final
    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    summary = Sidecar(layout, lambda: MinioStore(bucket, KEYS), grace=60).end()
    assert "1 of 1 objects were not uploaded" in summary.error
    assert "artifacts.caSecretRef" in summary.error
    said: list[str] = []
    restore.restore(layout, PreparePlan("image", bucket=bucket, previous="runs"), KEYS, said.append)
    assert "cannot be fetched, so everything runs again" in said[0]
    assert not stub.asked


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \n"], ids=repr)
def test_line_ends_of_a_secret_are_no_part_of_the_login(
    tmp_path: Path, stub: Stub, end: str
) -> None:
    put(stub.make_bucket(), {name: value + end for name, value in KEYS.items()}, tmp_path)
    assert {each.partition("/")[0] for each in stub.logins} == {"AWS4-HMAC-SHA256 Credential=some"}
    assert set(stub.tokens) == {""}
    stub.tokens.clear()
    with_token = KEYS | {"AWS_SESSION_TOKEN": "for/one+hour=="}
    put(stub.make_bucket(), {name: value + end for name, value in with_token.items()}, tmp_path)
    assert set(stub.tokens) == {"for/one+hour=="}


def test_the_signature_is_that_of_the_key_without_its_line_end(tmp_path: Path, stub: Stub) -> None:
    stub.secret, stub.code = KEYS["AWS_SECRET_ACCESS_KEY"], "SignatureDoesNotMatch"
    put(stub.make_bucket(), KEYS | {"AWS_SECRET_ACCESS_KEY": "key\n"}, tmp_path)
    with pytest.raises(UploadError, match="SignatureDoesNotMatch"):
        put(stub.make_bucket(), KEYS | {"AWS_SECRET_ACCESS_KEY": "other"}, tmp_path)


@pytest.mark.parametrize(
    "name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
)
def test_a_login_of_two_lines_is_refused_and_never_shown(stub: Stub, name: str) -> None:
    with pytest.raises(BucketError) as error:
        MinioStore(stub.make_bucket(), KEYS | {name: "hunter\n2"})
    assert name in str(error.value)
    assert "hunter" not in str(error.value)
    assert error.value.final


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken"])
def test_a_token_that_is_over_is_not_tried_again(tmp_path: Path, stub: Stub, code: str) -> None:
    """The variables of the sidecar stay what they were when it was started."""
    stub.may_put, stub.code = False, code
    with pytest.raises(UploadError, match=code) as error:
        put(stub.make_bucket(), KEYS | {"AWS_SESSION_TOKEN": "old"}, tmp_path)
    assert error.value.final
