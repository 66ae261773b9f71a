# Ask a gateway with curl: plainly, with a gzip body, and over HTTP/1.1 with an upgrade offered. Prints the places, best first, as JSON;
# then asks the server at the second URL, which answers 504 and counts.
set -euo pipefail
body='{"query": "lead pipe", "documents": ["gold ring", "a lead pipe", "pipe"]}'
ask() {
  curl --silent --fail-with-body --header 'content-type: application/json' "$@" "$url/v1/rerank" |
    grep --only-matching '"index":[0-9]*' | cut -d: -f2 | paste -sd, | sed 's/.*/[&]/'
}
url=$1
first=$(ask --data "$body")
[ "$first" = "$(ask --compressed --http2 --data "$body")" ]
[ "$first" = "$(printf '%s' "$body" | gzip | ask --header 'content-encoding: gzip' --data-binary @-)" ]
echo "$first"
url=$2
ask --data "$body" || true
