// The two lists side by side and the lines between them.

import { byId, make, show, spoken } from "./dom.js";
import { movesOf } from "./ranking.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

export class Board {
  /** @param {(place: number, relevance: number|null) => void} onJudge */
  constructor(onJudge) {
    this.onJudge = onJudge;
    this.board = byId("board");
    this.lists = { "first-stage": byId("first-stage-list"), reranked: byId("reranked-list") };
    this.lines = byId("lines");
    this.cards = { "first-stage": [], reranked: [] };
    this.order = null;
    new ResizeObserver(() => this.drawLines()).observe(this.board);
    for (const event of ["pointerover", "focusin"]) this.board.addEventListener(event, (e) => this.#light(e.target));
    for (const event of ["pointerleave", "focusout"]) this.board.addEventListener(event, () => this.#light(null));
    this.board.addEventListener("keydown", (event) => this.#onKey(event));
  }

  clear() {
    for (const list of Object.values(this.lists)) list.replaceChildren();
    this.lines.replaceChildren();
    this.order = null;
    show(byId("no-scores"), false);
    show(this.board, false);
  }

  /** Show the first stage's hits in both lists; the right one waits for scores. */
  showFirstStage(hits) {
    this.hits = hits;
    this.order = null;
    for (const [side, list] of Object.entries(this.lists)) {
      this.cards[side] = hits.map((hit, place) => this.#card(hit, place, side));
      list.replaceChildren(...this.cards[side]);
    }
    this.lines.replaceChildren();
    this.board.dataset.state = "waiting";
    show(this.board);
  }

  /** Say why there is no list on the right side; a copy of the left list would look as if scores were still to come. */
  showUnranked(why) {
    this.board.dataset.state = "unranked";
    this.lists.reranked.replaceChildren();
    this.cards.reranked = [];
    this.lines.replaceChildren();
    this.order = null;
    byId("no-scores").textContent = why;
    show(byId("no-scores"));
  }

  /**
   * Reorder the right list.
   * @param {number[]} order places, best first
   * @param {{scores: number[], probabilities: number[], truncated: boolean[], is_blank: boolean[], scored: number}} answer in first-stage order
   * @param {number[]} sorted the scores that determine the order: the model's, or those fused with the first stage's order
   * @param {boolean} isFused whether the first stage's order counts
   */
  showReranked(order, answer, sorted, isFused) {
    const shareOf = shares(sorted.filter((_, place) => isScored(answer, place)));
    const list = this.lists.reranked;
    const before = this.cards.reranked.map((card) => card.getBoundingClientRect().top);
    const moves = movesOf(order);
    order.forEach((place, rank) => {
      const card = this.cards.reranked[place];
      this.#fill(card, place, rank, moves[place]);
      this.#fillScore(card, place, answer, { sorted: sorted[place], share: shareOf(sorted[place]), isFused });
      if (list.children[rank] !== card) list.insertBefore(card, list.children[rank] ?? null);
    });
    this.order = order;
    this.moves = moves;
    this.board.dataset.state = "reranked";
    this.drawLines();
    if (!isCalm.matches) this.cards.reranked.forEach((card, place) => glide(card, before[place]));
  }

  /** Show which thumb is pressed. */
  showJudgment(place, relevance) {
    for (const side of Object.values(this.cards)) {
      for (const button of side[place]?.querySelectorAll("[data-relevance]") ?? []) {
        button.setAttribute("aria-pressed", String(Number(button.dataset.relevance) === relevance));
      }
    }
  }

  drawLines() {
    this.lines.replaceChildren();
    if (this.order === null || getComputedStyle(this.lines).display === "none") return;
    const { width, height } = this.lines.getBoundingClientRect();
    this.lines.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const place of [...this.order].reverse()) {
      const [from, to] = [anchor(this.cards["first-stage"][place]), anchor(this.cards.reranked[place])];
      const line = document.createElementNS(NAMESPACE, "path");
      line.setAttribute("d", `M0 ${from}C${width / 2} ${from} ${width / 2} ${to} ${width} ${to}`);
      line.setAttribute("class", direction(this.moves[place]));
      line.dataset.place = place;
      this.lines.append(line);
    }
  }

  #card(hit, place, side) {
    const detailId = `${side}-${place}`;
    const title = make("button", { type: "button", class: "title", "aria-expanded": "false", "aria-controls": detailId }, hit.title || hit.doc_id);
    const text = make("div", { class: "full", id: detailId, hidden: true },
      make("p", {}, hit.text + (hit.is_shortened ? " …" : "")), side === "reranked" ? make("p", { class: "chance" }) : null);
    title.addEventListener("click", () => {
      const isOpen = title.getAttribute("aria-expanded") === "true";
      title.setAttribute("aria-expanded", String(!isOpen));
      show(text, !isOpen);
      this.drawLines();
    });
    const isFirst = side === "first-stage";
    return make(
      "li",
      { class: "hit", "data-place": String(place) },
      make("p", { class: "rank" }, spoken("Rank "), make("span", { class: "number" }, String(place + 1)), isFirst ? null : make("span", { class: "move" })),
      make("div", { class: "body" },
        make("h3", {}, title),
        passage(hit.passage),
        text,
        make("p", { class: "meta" },
          isFirst ? make("span", { class: "score" }, "score ", make("b", {}, shownScore(hit.first_stage_score))) : make("span", { class: "score" }, "…"),
          hit.title && hit.title !== hit.doc_id && !hit.title.includes(hit.doc_id) ? make("code", {}, hit.doc_id) : null,
          judged(hit.relevance))),
      this.#thumbs(hit, place),
    );
  }

  #thumbs(hit, place) {
    const name = hit.title || hit.doc_id;
    const thumb = (relevance, label, path) => {
      const button = make("button", { type: "button", class: "thumb", "aria-pressed": "false", "aria-label": `${label}: ${name}`, title: label, "data-relevance": String(relevance) }, drawing(path));
      button.addEventListener("click", () => {
        this.onJudge(place, button.getAttribute("aria-pressed") === "true" ? null : relevance);
      });
      return button;
    };
    return make("div", { class: "thumbs" },
      thumb(1, "Relevant", "M7 11v9H3v-9zM7 11l4-8c1.500 0 2.500 1 2.500 2.500V9H20l-1.500 9.500c-.2 1-1 1.500-2 1.500H7"),
      thumb(0, "Not relevant", "M7 13V4H3v9zM7 13l4 8c1.500 0 2.500-1 2.500-2.500V15H20l-1.500-9.500c-.2-1-1-1.500-2-1.500H7"));
  }

  #fill(card, place, rank, move) {
    card.classList.remove("up", "down", "stayed");
    card.classList.add(direction(move));
    card.querySelector(".number").textContent = String(rank + 1);
    const said = move === 0 ? "unchanged" : `${move > 0 ? "up" : "down"} ${Math.abs(move)}, from rank ${place + 1}`;
    card.querySelector(".move").replaceChildren(
      make("span", { "aria-hidden": "true" }, move === 0 ? "=" : `${move > 0 ? "▲" : "▼"} ${Math.abs(move)}`), spoken(`, ${said}`));
  }

  #fillScore(card, place, answer, { sorted, share, isFused }) {
    const score = card.querySelector(".score");
    card.classList.toggle("unscored", !isScored(answer, place));
    if (!isScored(answer, place)) {
      const [words, why] = place < answer.scored
        ? ["nothing to read", "A document without text stands last"]
        : ["not scored in time", "The deadline came before this document was scored; it follows after the scored documents, in the first stage’s order"];
      score.replaceChildren(make("span", { class: "tag", title: why }, words));
      return;
    }
    const filled = make("i", {});
    filled.style.width = `${Math.max(share * 100, 2)}%`;
    score.replaceChildren(
      make("span", {}, "score ", make("b", {}, shownScore(sorted))),
      ...(isFused ? [make("span", { class: "model-score" }, "model ", shownScore(answer.scores[place]))] : []),
      make("span", { class: "strength", title: "Position of the score between the lowest and the highest score of this search" },
        make("span", { class: "strength-bar", "aria-hidden": "true" }, filled), spoken(`${Math.round(share * 100)} of 100 between this search’s lowest and highest score`)),
      ...(answer.truncated[place] ? [make("span", { class: "tag", title: "The document is longer than the model can read; its end was cut off" }, "cut")] : []));
    card.querySelector(".chance").textContent = `In the data that the model was calibrated on, about ${shownPercent(answer.probabilities[place] * 100)} of the documents with this score are relevant.`;
  }

  #light(target) {
    const place = target?.closest?.(".hit")?.dataset.place;
    this.board.classList.toggle("is-lit", place !== undefined);
    for (const element of this.board.querySelectorAll("[data-place]")) element.classList.toggle("lit", element.dataset.place === place);
  }

  #onKey(event) {
    const card = event.target.closest(".hit");
    if (!card || event.altKey || event.ctrlKey || event.metaKey) return;
    const place = Number(card.dataset.place);
    const side = card.parentElement === this.lists.reranked ? "reranked" : "first-stage";
    const target = {
      ArrowDown: () => card.nextElementSibling,
      ArrowUp: () => card.previousElementSibling,
      ArrowLeft: () => (side === "reranked" ? this.cards["first-stage"][place] : null),
      ArrowRight: () => (side === "first-stage" ? this.cards.reranked[place] : null),
    }[event.key]?.();
    const relevance = { "+": 1, "-": 0, "−": 0 }[event.key];
    if (target) target.querySelector(".title").focus();
    else if (relevance !== undefined) card.querySelector(`[data-relevance="${relevance}"]`).click();
    else return;
    event.preventDefault();
  }
}

function isScored(answer, place) {
  return place < answer.scored && !answer.is_blank[place];
}

/** Return a function that maps a score to its position between the lowest (0) and the highest (1) of these scores. */
function shares(scores) {
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  return (score) => (high > low ? (score - low) / (high - low) : 1);
}

function direction(move) {
  return move > 0 ? "up" : move < 0 ? "down" : "stayed";
}

/** Return where a line meets a card, from the board's top; a moving card counts at its final position. */
function anchor(card) {
  return card.offsetTop + Math.min(card.offsetHeight / 2, 48);
}

function glide(card, before) {
  const distance = before - card.getBoundingClientRect().top;
  if (Math.abs(distance) > 1) {
    card.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }], { duration: 450, easing: "cubic-bezier(.2,.7,.2,1)" });
  }
}

function passage({ text, marks, is_start: isStart, is_end: isEnd }) {
  const pieces = [];
  // The server counts code points, JavaScript UTF-16 units.
  const characters = Array.from(text);
  let end = 0;
  for (const [from, to] of marks) {
    pieces.push(characters.slice(end, from).join(""), make("mark", {}, characters.slice(from, to).join("")));
    end = to;
  }
  pieces.push(characters.slice(end).join(""));
  return make("p", { class: "passage" }, isStart ? "" : "… ", ...pieces, isEnd ? "" : " …");
}

function judged(relevance) {
  if (relevance === null) return null;
  return make("span", { class: `tag judged-${Math.min(relevance, 2)}`, title: "Relevance in the judgments of this collection" }, `judged ${relevance}`);
}

function shownScore(score) {
  return score.toFixed(2).replace("-", "−");
}

function shownPercent(percent) {
  if (percent > 99.9) return "99.9% or more";
  if (percent < 0.1) return "0.1% or less";
  return `${percent.toFixed(percent < 10 || percent > 90 ? 1 : 0)}%`;
}

function drawing(path) {
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(NAMESPACE, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}
