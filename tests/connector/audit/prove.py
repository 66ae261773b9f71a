"""Prove the audit on your own collection: with an identical reindex, six planted faults and six harmless changes.

    python -m tests.connector.audit.prove COLLECTION --split test --out FOLDER

With ``--only "FAULT wrong analyzer" --queries 10000`` it runs one audit with that many queries, made by leaving out random words.
It starts the tests' OpenSearch, or uses SLIMRANK_TEST_OPENSEARCH_URL. It prints one line for each audit, and keeps their folders
in FOLDER.
"""

import argparse
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from connector.audit.ask.access import Access
from connector.audit.flow import audit
from connector.audit.folder import Folder
from connector.audit.spec import parse_spec
from slimrank.evaluation.beir import read_collection
from tests.connector.audit.shop import Index
from tests.nodes.engine import OPENSEARCH, running

Product = dict[str, Any]
GOOD_SYNONYMS = ["television, tv", "sofa, couch", "sneaker, trainer", "tumour, tumor", "t shirt, tee"]


def settings(synonyms: list[str], *, stems: bool = True) -> dict[str, Any]:
    """Return index settings with synonyms in the search analyzer."""
    base = ["lowercase", "shop_stop", *(["stems"] if stems else [])]
    return {
        "number_of_shards": 1,
        "number_of_replicas": 0,
        "analysis": {
            "filter": {
                "stems": {"type": "stemmer", "language": "english"},
                "shop_stop": {"type": "stop", "stopwords": "_english_"},
                "same": {"type": "synonym_graph", "synonyms": synonyms},
            },
            "analyzer": {
                "indexed": {"tokenizer": "standard", "filter": base},
                "searched": {"tokenizer": "standard", "filter": ["lowercase", "same", *base[1:]]},
            },
        },
    }


def mappings(**more: Any) -> dict[str, Any]:
    """Return explicit mappings."""
    text = {"type": "text", "analyzer": "indexed", "search_analyzer": "searched"}
    return {"dynamic": False, "properties": {"title": text, "text": text, **more}}


def wrong_synonyms(queries: list[str]) -> list[str]:
    """Return wrong synonyms: pairs of frequent, unrelated words of the queries."""
    words = [word for word, _ in Counter(" ".join(queries).lower().split()).most_common(60) if word.isalpha() and len(word) > 3]
    return [f"{a}, {b}" for a, b in zip(words[::2], words[1::2], strict=False)]


def variants(products: list[Product], queries: list[str]) -> dict[str, tuple[Callable[[Index], None], dict[str, Any]]]:
    """Return name -> a function that makes the new index, and the other differences of the new side."""
    usual = settings(GOOD_SYNONYMS)
    chance = random.Random(0)
    shuffled = chance.sample(products, len(products))
    stale = set(chance.sample(range(len(products)), len(products) // 5))
    titles = [product["title"] or product["text"][:60] for product in products]
    texts = [product["text"] for product in products]

    def make(some: list[Product], how: dict[str, Any] = usual, fields: dict[str, Any] | None = None) -> Callable[[Index], None]:
        return lambda index: fill(index, some, how, fields or mappings())

    def merged(index: Index) -> None:
        fill(index, products, usual, mappings())
        index.call("POST", "/_forcemerge?max_num_segments=1")

    aged = [
        {**product, "title": chance.choice(titles), "text": chance.choice(texts)} if number in stale else product
        for number, product in enumerate(products)
    ]
    return {
        "identical": (make(products), {}),
        "FAULT wrong analyzer": (make(products, settings(GOOD_SYNONYMS, stems=False)), {}),
        "FAULT lost field": (make([{"_id": p["_id"], "title": p["title"]} for p in products]), {}),
        "FAULT dropped documents": (make([p for n, p in enumerate(products) if n % 10]), {}),
        "FAULT broken synonyms": (make(products, settings(wrong_synonyms(queries))), {}),
        "FAULT swapped boost": (make(products), {"fields": ["title", "text^4"]}),
        "FAULT stale documents": (make(aged), {}),
        "harmless replicas": (make(products, {**usual, "number_of_replicas": 1}), {}),
        "harmless refresh": (make(products, {**usual, "refresh_interval": "30s"}), {}),
        "harmless unused field": (make([{**p, "note": "x"} for p in products], usual, mappings(note={"type": "text"})), {}),
        "harmless force-merge": (merged, {}),
        "harmless order": (make(shuffled), {}),
        "harmless name": (make(products), {"index": "prove_by_another_name"}),
    }


def fill(index: Index, products: list[Product], how: dict[str, Any], fields: dict[str, Any]) -> None:
    """Make an index of the products, a thousand at a time."""
    index.make([], how, fields)
    for start in range(0, len(products), 1000):
        some = products[start : start + 1000]
        ids = iter([product["_id"] for product in some])
        index.put([{k: v for k, v in product.items() if k != "_id"} for product in some], id_of=lambda _, ids=ids: next(ids))


def main() -> None:
    """Run every audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="Name of the only audit to run")
    parser.add_argument(
        "--queries", type=int, default=0, help="Number of distinct queries to ask; 0 for the collection's queries"
    )
    given = parser.parse_args()
    collection = read_collection(given.collection, given.split)
    given.out.mkdir(parents=True, exist_ok=True)
    products = [{"_id": d.doc_id, "title": d.title, "text": d.text} for d in collection.documents.values()]
    queries, qrels = given.out / "queries.jsonl", given.out / "qrels.tsv"
    asked = multiplied(collection.queries, given.queries) if given.queries else {q: (q, t) for q, t in collection.queries.items()}
    queries.write_text("".join(json.dumps({"_id": q, "text": text}) + "\n" for q, (_, text) in asked.items()))
    qrels.write_text("".join(f"{q}\t{d}\t{g}\n" for q, (of, _) in asked.items() for d, g in collection.qrels[of].items()))
    print(f"{collection.name}: {len(products)} documents, {len(asked)} queries")
    with running(OPENSEARCH) as engine:
        before = Index(engine.url, "prove_v1")
        fill(before, products, settings(GOOD_SYNONYMS), mappings())
        for name, (make, others) in variants(products, list(collection.queries.values())).items():
            if given.only not in (None, name):
                continue
            after = Index(engine.url, others.get("index", "prove_v2"))
            make(after)
            start = time.monotonic()
            spec = parse_spec(
                {
                    "before": {"url": engine.url, "index": "prove_v1", "fields": ["title^2", "text"]},
                    "after": {"index": after.name, **others},
                    "queries": {"file": str(queries)},
                    "judges": [{"kind": "qrels", "file": str(qrels), "human": True}],
                    "sample": {"size": len(asked), "personal": "keep"},
                    "requests_per_second": 1000,
                },
                name,
            )
            report = audit(spec, Folder(given.out / name.replace(" ", "-")), Access())
            print(line(name, report, time.monotonic() - start), flush=True)
            after.drop()
        before.drop()
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at the peak, the collection included")


def multiplied(queries: Mapping[str, str], count: int) -> dict[str, tuple[str, str]]:
    """Return query id -> the original query and a new text, in which random words are left out."""
    chance = random.Random(0)
    texts: dict[str, str] = {}
    for _ in range(200):
        for query_id, text in queries.items():
            words = text.split()
            size = min(len(words), max(2, int(len(words) * chance.uniform(0.3, 1.01))))
            kept = [words[place] for place in sorted(chance.sample(range(len(words)), size))]
            texts.setdefault(" ".join(kept), query_id)
            if len(texts) == count:
                return {f"v{number:06}": (of, made) for number, (made, of) in enumerate(texts.items())}
    raise ValueError(f"only {len(texts)} distinct queries can be made of {len(queries)}, and {count} were asked for")


def line(name: str, report: dict[str, Any], seconds: float) -> str:
    """Return a line about one audit."""
    ndcg = report["paired"][0]
    causes = [f"{cause['kind']} {cause['share']:.0%}" for cause in report["causes"]["causes"]]
    return (
        f"{name:24} {report['verdict']:5} changed {report['queries']['changed']:4} RBO {report['scalars']['RBO']:.4f} "
        f"nDCG {ndcg['before']:.4f} {ndcg['difference']:+.4f} p {ndcg['p_worse']:.4f}  {', '.join(causes)}  {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
