"""The passwords of the demo stack."""

import hashlib
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.demo import passwords
from slimrank.settings import Settings


def test_redis_gets_the_hash_and_the_settings_get_the_password(tmp_path: Path) -> None:
    passwords.write_redis(tmp_path)
    settings = Settings(_secrets_dir=tmp_path)  # type: ignore[call-arg]
    password = urlsplit(settings.redis_url).password
    acl = (tmp_path / "users.acl").read_text()
    assert password and password not in acl
    assert hashlib.sha256(password.encode()).hexdigest() in acl


def test_the_environment_wins_over_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords.write_redis(tmp_path)
    monkeypatch.setenv("SLIMRANK_REDIS_URL", "redis://elsewhere:6379/0")
    assert Settings(_secrets_dir=tmp_path).redis_url == "redis://elsewhere:6379/0"  # type: ignore[call-arg]


def test_existing_passwords_are_kept(tmp_path: Path) -> None:
    for write in (passwords.write_redis, passwords.write_grafana):
        assert write(tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        assert write(tmp_path) == []
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_both_files_are_made_again_if_one_is_missing(tmp_path: Path) -> None:
    passwords.write_redis(tmp_path)
    (tmp_path / "users.acl").unlink()
    assert len(passwords.write_redis(tmp_path)) == 2


def test_only_the_owner_can_read_the_url(tmp_path: Path) -> None:
    passwords.write_redis(tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o400}


def test_the_access_list_is_the_one_of_the_security_page() -> None:
    page = (Path(__file__).parent.parent.parent.parent / "SECURITY.md").read_text()
    assert f"~slimrank:* resetchannels {passwords.COMMANDS}" in page
