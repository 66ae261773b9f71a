"""A small shop to audit: products with real words, queries with other forms of these words, and known judgments.

A product is relevant by the thing and the properties that it was made from, and not by an analyzer: a query for "wooden chairs"
wants chairs of wood, however they are spelt. So an index that stems is truly better than an index that does not.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

THINGS = {
    "chair": ["chair", "chairs"], "table": ["table", "tables"], "lamp": ["lamp", "lamps"], "sofa": ["sofa", "couch"],
    "shelf": ["shelf", "rack"], "kettle": ["kettle", "kettles"], "knife": ["knife", "blade"], "pan": ["pan", "skillet"],
    "jacket": ["jacket", "coat"], "shoe": ["shoe", "shoes"], "glove": ["glove", "gloves"], "scarf": ["scarf", "scarves"],
    "drill": ["drill", "drills"], "hammer": ["hammer", "hammers"], "ladder": ["ladder", "ladders"], "hose": ["hose", "hoses"],
    "tent": ["tent", "tents"], "rucksack": ["rucksack", "backpack"], "bicycle": ["bicycle", "bike"], "phone": ["phone", "handset"],
}  # fmt: skip
PROPERTIES = {
    "fold": ["folding", "folds", "folded"], "wood": ["wood", "woods"], "insulate": ["insulated", "insulating"],
    "pad": ["padded", "padding"], "paint": ["painted", "painting"], "extend": ["extending", "extended"],
    "heat": ["heated", "heating"], "charge": ["charging", "charged", "charges"], "stack": ["stacking", "stacked"],
    "print": ["printed", "printing"], "knit": ["knitted", "knitting"], "adjust": ["adjusting", "adjusted"],
}  # fmt: skip
COLOURS = ["red", "blue", "green", "black", "white", "grey", "yellow", "brown"]
FILLER = [
    "made",
    "for",
    "daily",
    "use",
    "with",
    "care",
    "and",
    "a",
    "long",
    "guarantee",
    "easy",
    "to",
    "clean",
    "strong",
    "light",
    "ships",
    "within",
    "days",
    "from",
    "our",
    "own",
    "store",
]
SYNONYMS = [
    "sofa, couch",
    "rucksack, backpack",
    "bicycle, bike",
    "shelf, rack",
    "pan, skillet",
    "jacket, coat",
    "phone, handset",
    "knife, blade",
]

MAPPINGS: dict[str, Any] = {
    "dynamic": "false",
    "properties": {
        "sku": {"type": "keyword"},
        "title": {"type": "text", "analyzer": "shop", "search_analyzer": "shop_search"},
        "text": {"type": "text", "analyzer": "shop", "search_analyzer": "shop_search"},
        "stock": {"type": "integer"},
    },
}
SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "number_of_replicas": 0,
    "analysis": {
        "filter": {
            "stems": {"type": "stemmer", "language": "english"},
            "same": {"type": "synonym_graph", "synonyms": SYNONYMS},
        },
        "analyzer": {
            "shop": {"tokenizer": "standard", "filter": ["lowercase", "stems"]},
            "shop_search": {"tokenizer": "standard", "filter": ["lowercase", "same", "stems"]},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Shop:
    """Products, queries and judgments."""

    products: list[dict[str, Any]]
    queries: list[tuple[str, str, int]]
    """query_id, query, frequency."""
    qrels: dict[str, dict[str, int]]


def make_shop(products: int = 600, queries: int = 80, seed: int = 0) -> Shop:
    """Make a shop; the same arguments give the same shop."""
    chance = random.Random(seed)
    made = [_product(number, chance) for number in range(products)]
    asked: list[tuple[str, str, int]] = []
    qrels: dict[str, dict[str, int]] = {}
    wanted: set[tuple[str, str]] = set()
    while len(wanted) < queries:
        thing, trait = chance.choice(list(THINGS)), chance.choice(list(PROPERTIES))
        if (thing, trait) in wanted:
            continue
        wanted.add((thing, trait))
        query_id = f"q{len(wanted):03}"
        text = f"{chance.choice(PROPERTIES[trait])} {chance.choice(THINGS[thing])}"
        asked.append((query_id, text, 1000 // (20 + len(wanted))))
        qrels[query_id] = {
            product["sku"]: (3 if product["title_holds"] else 2) if trait in product["traits"] else 1
            for product in made
            if product["thing"] == thing
        } or {made[0]["sku"]: 0}
    hidden = ("thing", "traits", "title_holds")
    return Shop([{name: value for name, value in product.items() if name not in hidden} for product in made], asked, qrels)


def _product(number: int, chance: random.Random) -> dict[str, Any]:
    thing, traits = chance.choice(list(THINGS)), chance.sample(list(PROPERTIES), 2)
    title_holds = chance.random() < 0.6
    trait = chance.choice(PROPERTIES[traits[0]])
    title = f"{chance.choice(COLOURS)} {trait + ' ' if title_holds else ''}{chance.choice(THINGS[thing])}"
    words = [chance.choice(PROPERTIES[name]) for name in traits] + chance.sample(FILLER, chance.randint(6, 14))
    words += [chance.choice(THINGS[chance.choice(list(THINGS))]) for _ in range(2)] + [chance.choice(THINGS[thing])]
    chance.shuffle(words)
    return {
        "sku": f"p{number:04}", "title": title.capitalize(), "text": " ".join(words), "stock": chance.randint(0, 50),
        "thing": thing, "traits": traits, "title_holds": title_holds,
    }  # fmt: skip


class Index:
    """An index on the test's engine. It is created for the test and removed afterwards."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.http = httpx.Client(base_url=url, timeout=60)

    def make(
        self,
        products: list[dict[str, Any]],
        settings: dict[str, Any] = SETTINGS,
        mappings: dict[str, Any] = MAPPINGS,
        *,
        id_of: Any = lambda product: product["sku"],
    ) -> "Index":
        """Create and fill the index."""
        self.clear()
        self.http.put(f"/{self.name}", json={"settings": settings, "mappings": mappings}).raise_for_status()
        if products:
            self.put(products, id_of=id_of)
        return self

    def put(self, products: list[dict[str, Any]], *, id_of: Any = lambda product: product["sku"]) -> None:
        """Index products, replacing those of the same id."""
        self._bulk(line for product in products for line in ({"index": {"_id": id_of(product)}}, product))

    def remove(self, ids: list[str]) -> None:
        """Delete documents by id."""
        self._bulk({"delete": {"_id": doc_id}} for doc_id in ids)

    def _bulk(self, lines: Iterator[dict[str, Any]]) -> None:
        import json

        body = "".join(json.dumps(line) + "\n" for line in lines)
        headers = {"content-type": "application/x-ndjson"}
        answer = self.http.post(f"/{self.name}/_bulk?refresh=true", content=body, headers=headers).raise_for_status().json()
        assert not answer["errors"], answer

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Call the engine on this index."""
        answer = self.http.request(method, f"/{self.name}{path}", json=body)
        answer.raise_for_status()
        parsed: dict[str, Any] = answer.json()
        return parsed

    def clear(self) -> None:
        """Remove the index, so that it can be made again."""
        self.http.delete(f"/{self.name}")

    def drop(self) -> None:
        """Remove the index for good."""
        self.clear()
        self.http.close()
