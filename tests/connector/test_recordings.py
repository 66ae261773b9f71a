"""Our stand-in for OpenSearch gives the recorded answers of a real one with ML Commons; so does a real one, if one is named."""

import copy

import httpx
import pytest

from connector.cluster import open_cluster
from connector.facts import read_facts
from tests.connector.exchanges import exchanges, record
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.recordings import recorded
from tests.nodes.engine import Engine
from tests.nodes.require import require

GATEWAY = "http://127.0.0.1:8080"


def test_the_stand_in_gives_the_recorded_answers() -> None:
    fake = FakeOpenSearch()
    before = copy.deepcopy(fake)
    for made, known in zip(exchanges(fake.client(), GATEWAY), recorded("ml-commons-3.5")["exchanges"], strict=True):
        assert made == known
    fake.made, fake.log = before.made, before.log
    fake.private_ok.clear()
    assert fake == before


@pytest.mark.engine
def test_a_real_cluster_still_gives_the_recorded_answers(opensearch: Engine) -> None:
    with open_cluster(opensearch.url) as cluster:
        facts = read_facts(cluster)
    if "rerank" not in facts.processors or opensearch.origin == "docker":
        pytest.skip(f"{opensearch.url} has no ML Commons, or cannot reach this machine at 127.0.0.1")
    known = recorded("ml-commons-3.5")
    if not facts.number.startswith(known["version"][:4]):
        pytest.skip(f"recorded on {known['version']}, and this is {facts.name}")
    with httpx.Client(base_url=opensearch.url) as client:
        if client.get("/_cluster/health").json()["number_of_nodes"] > 1:
            pytest.skip("recorded on one node; several nodes pass some errors on with other messages")
        models = client.post("/_plugins/_ml/models/_search", json={"query": {"match_all": {}}}).json()
    if models["hits"]["hits"]:
        require(f"{opensearch.url} already has models; name a separate cluster for the tests")
    made = record(opensearch.url)
    assert made["mappings"] == known["mappings"]
    for exchange, expected in zip(made["exchanges"], known["exchanges"], strict=True):
        assert exchange == expected
