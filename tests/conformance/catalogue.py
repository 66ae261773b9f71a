"""The documents and queries of the conformance run: a small made-up shop, the same on every machine."""

from itertools import product

from slimrank.types import Json

COLOURS = ("red", "blue", "green", "black", "white")
MATERIALS = ("leather", "cotton", "steel", "oak", "wool")
THINGS = ("shoe", "chair", "bag", "lamp", "coat", "knife", "table", "hat")

MAPPING: Json = {
    "properties": {
        "title": {"type": "text"},
        "text": {"type": "text"},
        "group": {"type": "keyword"},
        "price": {"type": "integer"},
        "maker": {"properties": {"name": {"type": "text"}}},
        "reviews": {"type": "nested", "properties": {"text": {"type": "text"}}},
    }
}


def products() -> list[Json]:
    """Return 200 products; the words of a text come as often as its number says, so that scores differ."""
    found = []
    for number, (colour, material, thing) in enumerate(product(COLOURS, MATERIALS, THINGS)):
        text = f"a {colour} {thing} of {material} " + "for the house " * (number % 7)
        reviews = [{"text": f"{colour} indeed"}, {"text": f"rated {number % 5} stars"}]
        found.append({"title": f"{colour} {thing}", "text": text.strip(), "price": number, "group": thing,
                      "maker": {"name": f"{material} works"}, "reviews": reviews})  # fmt: skip
    return found


def special() -> list[Json]:
    """Return the documents that only the cases for odd content find, by their title."""
    return [
        {"title": "unicodecase", "text": "日本語 の 本"},
        {"title": "unicodecase", "text": "🔧 wrench e\u0301 naïve"},
        {"title": "unicodecase", "text": "עברית שלום"},
        {"title": "specialcase", "text": "</s> <|im_start|> gold"},
        {"title": "specialcase", "text": 'quoted "gold" \\ back ${parameters.query}'},
        {"title": "specialcase", "text": "line\nbreak\tgold ring"},
        {"title": "missingcase", "text": "gold ring"},
        {"title": "missingcase"},
        {"title": "missingcase", "text": None},
        {"title": "missingcase", "text": ["gold", "ring", "list"]},
        {"title": "alonecase", "text": "only one"},
        {"title": "longcase", "text": "gold " + "filler " * 30_000},
        {"title": "longcase", "text": "short gold"},
        *({"title": "tiecase", "text": "gold ring"} for _ in range(6)),
        {"title": "emptycase", "price": 1},
    ]


def many() -> list[Json]:
    """Return 1,000 documents for the widest window."""
    return [{"title": "manycase", "text": f"gold number {number} " + "x " * (number % 13)} for number in range(1000)]


def queries() -> list[str]:
    """Return 50 product queries, of two and three words."""
    pairs = [f"{colour} {thing}" for colour, thing in product(COLOURS, THINGS)]
    triples = [f"{material} {thing} for the house" for material, thing in zip(MATERIALS * 2, THINGS + THINGS[:2], strict=True)]
    return pairs + triples
