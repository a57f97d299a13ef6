// The answers: cards a page at a time, what can be picked among them, what was sent, and what went wrong.

const A_PAGE = 50;  // answers that are shown at a time

let shown = [];  // indices of the answers that are listed, in their order
let cards = 0;  // how many of them have a card
let only = null;  // says of an outcome whether it is shown; null shows all

function announce(text) {
  at("announce").textContent = text;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

function complain(problem) {
  at("problem").hidden = !problem;
  at("problem").replaceChildren();
  if (!problem) return;
  at("problem").append(make("p", "", make("b", "", problem.what), problem.fix ? ` ${problem.fix}` : ""));
  if (problem.said) at("problem").append(make("p", "said", `The service says: ${sentence(problem.said)}`));
  if (problem.action) at("problem").append(problem.action);
}

function busy(on) {
  at("run").setAttribute("aria-disabled", String(on));
  at("tools").hidden = true;
  at("export").hidden = true;
  at("requests").hidden = true;
  at("more").hidden = true;
  at("empty").hidden = true;
  if (on) {
    at("summary").replaceChildren();
    progress();
    return;
  }
  if (document.activeElement === at("stop")) at("run").focus();  // it goes away
  at("progress").hidden = true;
}

// How far it is, and the first answers as soon as they are there.
function progress() {
  const all = run.texts.length;
  const done = run.outcomes.filter(Boolean).length;
  at("bar").max = all;
  at("bar").value = done;
  at("progress-says").textContent = `${done.toLocaleString("en")} of ${counted(all, "text")}`;
  const open = run.texts.findIndex((_, index) => !run.outcomes[index]);
  shown = [...run.texts.keys()].slice(0, open < 0 ? all : open);
  extend(A_PAGE);
}

function cardOf(index) {
  const text = run.texts[index];
  const outcome = run.outcomes[index];
  const card = make("li", "answer");
  card.tabIndex = -1;
  if (run.texts.length > 1) card.append(make("span", "index", (index + 1).toLocaleString("en")));
  if (outcome.problem) {
    card.append(...passage("text", text.length, text), make("p", "badge bad", `Not answered. ${outcome.problem}`));
    return card;
  }
  card.append(...view().show(text, outcome.answer));
  if (outcome.truncated) {
    const most = about.windows ? `${about.windows.most} windows of ${about.max_length}` : about.max_length.toLocaleString("en");
    const first = about.windows ? most : `the first ${most}`;
    const read = outcome.tokens ? `Cut: it has ${counted(outcome.tokens, "token")}, and ${first} were read.` : `Cut: only its first ${most} tokens were read.`;
    card.append(make("p", "badge", read));
  }
  return card;
}

function extend(upTo) {
  const next = shown.slice(cards, upTo);
  at("answers").append(...next.map(cardOf));
  cards += next.length;
  const left = shown.length - cards;
  at("more").hidden = Boolean(stopping) || !left;
  at("more").textContent = `Show ${Math.min(left, A_PAGE)} more of ${left.toLocaleString("en")}`;
}

function list() {
  const sure = (index) => {
    const { answer: found } = run.outcomes[index];
    return found ? view().sure(found) : null;
  };
  shown = [...run.texts.keys()].filter((index) => {
    const outcome = run.outcomes[index];
    return outcome && (only === null || only(outcome));
  });
  const order = at("order").value;
  if (order !== "asked") {
    const sign = order === "least" ? 1 : -1;
    const last = sign * Infinity;  // what has no certainty stands at the end
    shown.sort((a, b) => sign * ((sure(a) ?? last) - (sure(b) ?? last)) || a - b);
  }
  at("answers").replaceChildren();
  cards = 0;
  extend(A_PAGE);
}

function conclude(failed) {
  const answered = run.outcomes.filter((one) => one?.answer !== undefined);
  const done = run.outcomes.filter(Boolean).length;
  const left = run.texts.length - done;
  list();
  summarise(answered);
  tools(answered);
  requests();
  at("export").hidden = !done;
  at("empty").hidden = done > 0 || Boolean(failed);
  if (failed) {
    const again = button("", done ? `Answer the other ${left.toLocaleString("en")}` : "Try again", () => { at("run").focus(); if (done) answer(); else start(); });
    complain({ ...failed, action: failed.key ? null : again });
    if (failed.key) at("key").focus();
  }
  const first = answered.length === 1 && run.texts.length === 1 ? view().groups(answered[0].answer)[0] : null;
  if (answered.length) announce(`${at("summary").firstChild.textContent}${first ? `: ${first}, ${percent(view().sure(answered[0].answer))}` : ""}`);
}

function summarise(answered) {
  const all = run.texts.length;
  const { requests: sent, time } = run;
  if (!answered.length) {
    at("summary").replaceChildren();
    return;
  }
  const what = answered.length === all ? counted(all, "text") : `${answered.length.toLocaleString("en")} of ${counted(all, "text")}`;
  const service = sent.length === 1 && sent[0].service !== null ? `, ${milliseconds(sent[0].service)} of it in the service` : "";
  const rate = sent.length > 1 ? `, ${Math.round((1000 * answered.length) / time).toLocaleString("en")} texts a second` : "";
  const line = make("span", "", `${what} in ${milliseconds(sent.length === 1 ? sent[0].time : time)}${service}${rate}`);
  const parts = [line];
  const cut = answered.filter((one) => one.truncated).length;
  if (cut && all > 1) parts.push(make("span", "badge", `${counted(cut, "text")} cut`));
  if (sent.length === 1) {
    const id = make("code", "", sent[0].id.length > 16 ? `${sent[0].id.slice(0, 12)}\u2026` : sent[0].id);
    id.title = sent[0].id;
    parts.push(make("span", "identity", "request ", id, button("small", "Copy", (node) => copy(sent[0].id, node))));
    parts.at(-1).lastChild.setAttribute("aria-label", "Copy the request's id");
  }
  at("summary").replaceChildren(...parts);
}

// By what the answers can be picked: their groups, the most frequent first, and what is wrong with some of them.
function picks(answered) {
  const counts = new Map();
  for (const one of answered) {
    for (const group of view().groups(one.answer)) counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const groups = sorted.map(([group, count]) => ({
    text: group, count, hue: view().hue(group), holds: (one) => one.answer !== undefined && view().groups(one.answer).includes(group),
  }));
  const cut = { text: "cut", holds: (one) => one.truncated };
  const unanswered = { text: "not answered", holds: (one) => one.problem };
  const wrong = [cut, unanswered].map((one) => ({ ...one, hue: "", count: run.outcomes.filter(one.holds).length }));
  return { groups, wrong: wrong.filter((one) => one.count) };
}

function chip({ text, count, hue: colour, holds }) {
  const node = button("chip", colour ? make("span", `swatch ${colour}`) : null, () => {
    only = holds;
    for (const other of at("groups").querySelectorAll(".chip")) other.setAttribute("aria-pressed", String(other === node));
    list();
    announce(`${counted(shown.length, "text")} shown.`);
  });
  node.append(text, " ", make("b", "", count.toLocaleString("en")));
  node.setAttribute("aria-pressed", String(holds === only));
  return node;
}

function tools(answered) {
  const { groups, wrong } = picks(answered);
  const done = run.outcomes.filter(Boolean).length;
  const chips = groups.map(chip);
  const rest = chips.slice(MANY);
  const show = (open) => rest.forEach((node) => { node.hidden = !open; });
  show(false);
  at("groups").replaceChildren(chip({ text: "all", count: done, hue: "", holds: null }), ...chips);
  if (rest.length) at("groups").append(toggle(`${rest.length} more`, "Fewer", show));
  at("groups").append(...wrong.map(chip));
  const sure = answered.some((one) => view().sure(one.answer) !== null);
  at("groups").hidden = !groups.length && !wrong.length;
  at("order-part").hidden = !sure;
  at("tools").hidden = done < 2 || (at("groups").hidden && !sure);
}

function requests() {
  const sent = run.requests;
  at("requests").hidden = sent.length < 2;
  at("requests-says").textContent = counted(sent.length, "request");
  at("request-rows").replaceChildren(...sent.map(({ from, to, time, service, id }) => make(
    "tr", "",
    make("td", "", from === to ? String(from) : `${from}\u2013${to}`),
    make("td", "number", milliseconds(time)),
    make("td", "number", service === null ? "not said" : milliseconds(service)),
    make("td", "", make("code", "", id)),
  )));
}
