"""The Painless scripts of our connector and pipeline. They do what ML Commons and the processors cannot do by themselves.

ML Commons replaces ``${parameters.NAME}`` in a connector's request body, and then also replaces it inside the inserted text. So a
document or a query that contains such a placeholder would change the request. A query that is itself JSON would be sent unquoted.
So a script writes the whole request as one JSON object, in which each ``${`` is written as ``$\\u007b``; JSON reads both the
same.
"""

import json

from slimrank.types import Json

REQUEST_BODY = "${parameters.request}"
_REQUEST = """StringBuilder request = new StringBuilder('{"query": "');
QUERY
request.append('", "documents": ');
DOCUMENTS
request.append(', OPTIONS}');
String text = request.toString().replace('\\\\', '\\\\\\\\').replace('"', '\\\\"').replace('$' + '{', '$\\\\\\\\u007b');
return '{"parameters": {"request": "' + text + '"}}';"""
# The texts of the rerank processor: ML Commons escapes them before it calls a script.
_ESCAPED = {
    "QUERY": "request.append(params.query_text);",
    "DOCUMENTS": """request.append('[');
String gap = '';
for (def document : params.text_docs) { request.append(gap).append('"').append(document).append('"'); gap = ', '; }
request.append(']');""",
}
# The parameters of ml_inference: the documents are already a JSON list; the query is escaped, unless it is itself JSON.
_PLAIN = {
    "QUERY": """String query = params.query;
int quote = query.indexOf('"');
if (quote == 0 || (quote > 0 && query.charAt(quote - 1) != (char) '\\\\')) {
  query = query.replace('\\\\', '\\\\\\\\').replace('"', '\\\\"');
}
for (int place = 0; place < query.length(); place++) {
  char letter = query.charAt(place);
  request.append(letter < (char) 32 ? (def) ' ' : (def) letter);
}""",
    "DOCUMENTS": "request.append(params.documents);",
}


def request_script(options: Json, *, by_field: bool = False) -> str:
    """Return the script that writes the request to the gateway.

    Args:
        options: The other fields of the request, besides the query and the documents.
        by_field: Whether the script is for the ml_inference processor.
    """
    text = json.dumps(options)[1:-1].replace("\\", "\\\\").replace("'", "\\'")
    script = _REQUEST
    for name, part in (_PLAIN if by_field else _ESCAPED).items():
        script = script.replace(name, part)
    return script.replace("OPTIONS", text)


MOST_HITS = 10_000
"""The most hits that an index returns, unless its ``index.max_result_window`` is set."""
DEFAULT_SIZE = 10
_PAGE = """if (ctx._source['from'] > 0) { throw new IllegalArgumentException(params.words); }
if (ctx._source['size'] < 0) { ctx._source['size'] = (int) params.size; }"""
_CAP = """int size = (int) ctx._source['size'];
int asked = (int) (size / (double) params.factor);
if (size > (int) params.most) { ctx._source['size'] = asked > (int) params.most ? asked : (int) params.most; }"""
REFUSAL = (
    "slimrank reranks one window of hits a search, of which this pipeline can only return the first page: from must be 0. Ask for more "
    "hits with size and cut the pages yourself, search through slimrank proxy, or install with --oversample 1, which reranks each page alone"
)


def before_oversampling() -> Json:
    """Return the processor that refuses later pages, and that sets the size if a search has none.

    The window of each page would begin at another hit, so reranked pages would repeat some hits and lose others.
    From OpenSearch 2.15 on, oversample uses 10 if a search has no size. Before, it used -1, and the search failed.
    """
    return _processor(_PAGE, {"words": REFUSAL, "size": DEFAULT_SIZE})


def after_oversampling(factor: float) -> Json:
    """Return the processor that limits the window to what an index returns; the index refuses larger searches."""
    return _processor(_CAP, {"factor": factor, "most": MOST_HITS})


def _processor(source: str, params: Json) -> Json:
    return {"script": {"tag": "slimrank", "lang": "painless", "source": source, "params": params}}
