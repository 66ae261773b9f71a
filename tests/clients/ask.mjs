// Ask a gateway through one public JavaScript client: node ask.mjs FUNCTION URL TOO_LATE, in a folder with that client installed.
// Prints the places of the documents, best first, as JSON; then asks the server at TOO_LATE, which answers 504 and counts.
import assert from "node:assert";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const query = "lead pipe";
const documents = ["gold ring", "a lead pipe", "pipe"];
const [, , name, right, tooLate] = process.argv;
let url = right;
const require = createRequire(pathToFileURL(process.cwd() + "/"));
const load = (module) => import(pathToFileURL(require.resolve(module)));
const same = (found) => found.reduce((one, other) => (assert.deepEqual(one, other), one));

const asks = {
  async cohere() {
    const { CohereClient, CohereClientV2 } = await load("cohere-ai");
    const found = [];
    for (const Client of [CohereClient, CohereClientV2]) {
      const answer = await new Client({ token: "any", environment: url }).rerank({ model: "any", query, documents });
      found.push(answer.results.map((result) => result.index));
    }
    return same(found);
  },
  async aiSdk() {
    const { rerank } = await load("ai");
    const { createCohere } = await load("@ai-sdk/cohere");
    const { createTogetherAI } = await load("@ai-sdk/togetherai");
    const found = [];
    for (const model of [
      createCohere({ apiKey: "any", baseURL: `${url}/v2` }).reranking("any"),
      createTogetherAI({ apiKey: "any", baseURL: `${url}/v1` }).reranking("any"),
    ]) {
      const { ranking } = await rerank({ model, query, documents });
      found.push(ranking.map((each) => each.originalIndex));
    }
    return same(found);
  },
  async langchain() {
    const { CohereClient } = await load("cohere-ai");
    const { CohereRerank } = await load("@langchain/cohere");
    const client = new CohereClient({ token: "any", environment: url });
    return (await new CohereRerank({ client, model: "any" }).rerank(documents, query)).map((result) => result.index);
  },
  async voyage() {
    const { VoyageAIClient } = await load("voyageai");
    const client = new VoyageAIClient({ apiKey: "any", environment: `${url}/v1` });
    return (await client.rerank({ query, documents, model: "any", truncation: true })).data.map((result) => result.index);
  },
  async librechat() {
    // a part of the package that its index does not export
    const file = path.resolve("node_modules/@librechat/agents/dist/cjs/tools/search/rerankers.cjs");
    const { createReranker } = require(file);
    const quiet = { debug() {}, info() {}, warn() {}, error() {} };
    const reranker = createReranker({ rerankerType: "jina", jinaApiKey: "any", jinaApiUrl: `${url}/v1/rerank`, logger: quiet });
    const found = await reranker.rerank(query, documents, 3);
    assert(found[0].score > found[2].score);
    return found.map((result) => documents.indexOf(result.text));
  },
};

console.log(JSON.stringify(await asks[name]()));
url = tooLate;
await asks[name]().catch(() => {});
process.exit(0);
