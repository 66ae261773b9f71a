// The calls to the server.

export async function about() {
  const answer = await fetch("api/about");
  if (!answer.ok) throw new Error(`the playground's server answered ${answer.status}`);
  return answer.json();
}

/** Send and return JSON. A refusal is an Error with the server's words. */
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw new Error("The playground’s server does not answer; is it still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.message ?? `The playground’s server answered ${answer.status}.`);
  return said;
}

/**
 * Search; yield events as they come: first_stage, then reranked, either of which may be `failed`.
 * An abort of `signal` ends it with an AbortError.
 */
export async function* search(call, signal) {
  let answer;
  try {
    answer = await fetch("api/search", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(call),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    yield { event: "failed", stage: "first_stage", kind: "unreachable", message: "the playground's server does not answer; is it still running?" };
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
    if (done) return;
  }
}
