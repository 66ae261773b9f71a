"""The commands of ``slimrank connect opensearch``, with a fake cluster over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector.cli import app
from slimrank.errors import EngineRefused, EngineUnavailable, SlimrankError
from tests.command import slimrank
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.served import serving

INSTALL = ["opensearch", "install", "--gateway", "http://127.0.0.1:8080", "--field", "text"]


@pytest.fixture
def fake() -> FakeOpenSearch:
    return FakeOpenSearch()


@pytest.fixture
def url(fake: FakeOpenSearch) -> Iterator[str]:
    with serving(fake.answer) as url:
        yield url


def _run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, SlimrankError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_install_check_and_remove_work_in_sequence(fake: FakeOpenSearch, url: str) -> None:
    assert "connector: Connector-001 calls http://127.0.0.1:8080/v1/rerank" in _run(*INSTALL, "--url", url)
    checked = _run("opensearch", "check", "--url", url)
    assert [line.split()[0] for line in checked.splitlines()] == ["ok"] * 5
    assert "restored the settings" in _run("opensearch", "remove", "--url", url)
    assert fake.indices == fake.pipelines == fake.models == fake.groups == fake.tasks == {}


def test_print_shows_every_call_and_sends_none(fake: FakeOpenSearch, url: str) -> None:
    shown = _run(*INSTALL, "--url", url, "--print", "--api-key", "hunter2")
    assert "PUT /_cluster/settings\n{" in shown
    assert "POST /_plugins/_ml/models/<MODEL_ID>/_deploy" in shown
    assert "hunter2" not in shown
    assert all(method == "GET" or path.endswith("/_search") for method, path in fake.log)


def test_the_json_output_contains_the_calls(url: str) -> None:
    answer = json.loads(_run(*INSTALL, "--url", url, "--json"))
    assert answer["dry_run"] is False
    assert [call["method"] for call in answer["calls"]] == ["PUT", "POST", "POST", "POST", "PUT"]


def test_check_before_install_says_what_to_run_and_fails(url: str) -> None:
    answer = json.loads(_run("opensearch", "check", "--url", url, "--json", code=1))
    assert "slimrank connect opensearch install" in answer[0]["words"]


def test_an_engine_that_is_down_is_named() -> None:
    with pytest.raises(EngineUnavailable, match=r"nothing answers at http://127\.0\.0\.1:9"):
        _run("opensearch", "check", "--url", "http://127.0.0.1:9")


def test_wrong_credentials_are_reported_and_right_credentials_work(fake: FakeOpenSearch, url: str) -> None:
    fake.password = "right"
    with pytest.raises(EngineRefused, match="does not accept the credentials"):
        _run("opensearch", "check", "--url", url, "--user", "admin", "--password", "wrong")
    _run(*INSTALL, "--url", url, "--user", "admin", "--password", "right")


def test_an_untrusted_certificate_is_reported_and_can_be_trusted(fake: FakeOpenSearch, tmp_path: Path) -> None:
    with serving(fake.answer, tls=tmp_path) as url:
        with pytest.raises(EngineUnavailable, match="not trusted here; name its authority with --ca-cert"):
            _run(*INSTALL, "--url", url)
        with pytest.raises(EngineUnavailable, match="try the same address with https"):
            _run(*INSTALL, "--url", url.replace("https", "http"))
        _run(*INSTALL, "--url", url, "--ca-cert", str(tmp_path / "cert.pem"))
        _run("opensearch", "remove", "--url", url, "--insecure")


def test_https_to_a_plain_http_port_is_reported(url: str) -> None:
    with pytest.raises(EngineUnavailable, match="does not speak TLS"):
        _run(*INSTALL, "--url", url.replace("http", "https"))


def test_an_error_is_one_line_without_a_traceback() -> None:
    done = slimrank("connect", "opensearch", "check", "--url", "http://127.0.0.1:9")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("slimrank: nothing answers at http://127.0.0.1:9")
