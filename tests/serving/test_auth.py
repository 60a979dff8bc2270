"""Keys, addresses, and what keeps a server from being opened by mistake."""

from __future__ import annotations

import pytest

from zhixing.errors import InputError
from zhixing.serving.auth import Guard, check_exposure, is_loopback, read_key
from zhixing.serving.errors import ApiError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_needs_no_key(host):
    assert is_loopback(host)
    check_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "127.0.0.1.example.org"])
def test_any_other_address_needs_one(host):
    with pytest.raises(InputError, match="ZHIXING_API_KEY"):
        check_exposure(host, None)
    check_exposure(host, "key")


def test_the_key_comes_from_the_file_then_from_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text("from-file\n", encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.delenv("ZHIXING_API_KEY", raising=False)
    assert read_key(None) is None
    monkeypatch.setenv("ZHIXING_API_KEY", " from-environment ")
    assert read_key(None) == "from-environment"
    assert read_key(str(file)) == "from-file"


def test_a_key_that_others_can_read_is_told(tmp_path, caplog):
    file = tmp_path / "key"
    file.write_text("secret-key", encoding="utf-8")
    file.chmod(0o644)
    read_key(str(file))
    assert "chmod 600" in caplog.text and "secret-key" not in caplog.text


@pytest.mark.parametrize("content", [b"", b"  \n", b"two words", b"two\nlines", b"\xff\xfe", "ключ".encode()])
def test_an_unusable_key_is_refused(tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(InputError, match="key"):
        read_key(str(file))


def test_an_empty_key_in_the_environment_is_not_no_key(monkeypatch):
    monkeypatch.setenv("ZHIXING_API_KEY", "")
    with pytest.raises(InputError):
        read_key(None)


def test_a_missing_key_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="--api-key-file"):
        read_key(str(tmp_path / "none"))


def scope(host=b"127.0.0.1:8000", path="/v1/models", **headers):
    pairs = [(b"host", host)] + [(name.encode(), value) for name, value in headers.items()]
    return {"path": path, "headers": pairs}


def test_on_loopback_a_foreign_host_name_is_refused():
    guard = Guard("127.0.0.1", None)
    for host in (b"localhost", b"127.0.0.1:8000", b"[::1]:8000", b"LOCALHOST:1"):
        guard.check(scope(host))
    for host in (b"evil.example:8000", b"127.0.0.1.evil.example", b"localhost.evil", b"x/?", b""):
        with pytest.raises(ApiError) as refusal:
            guard.check(scope(host))
        assert refusal.value.status == 400


def test_on_an_open_address_any_plain_host_name_is_taken_but_the_key_is_needed():
    guard = Guard("0.0.0.0", "key")
    guard.check(scope(b"models.example:80", authorization=b"Bearer key"))
    with pytest.raises(ApiError) as refusal:
        guard.check(scope(b"models.example:80"))
    assert refusal.value.status == 401
    guard.check(scope(b"models.example:80", path="/health/ready"))
