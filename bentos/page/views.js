// How an answer is shown. Text goes in as text everywhere: no markup is ever made of it.

const FEW = 5;  // labels that are shown of an answer at first
const MANY = 12;  // groups, or names of labels, that are shown at first
const LONG = 320;  // characters of a text that is shown shortened at first
const HUES = 8;  // colours of entity groups in page.css

const at = (id) => document.getElementById(id);
let about = JSON.parse(at("model").textContent);  // what the bundle says of itself

function make(tag, name, ...content) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...content.filter((one) => one !== undefined && one !== null));
  return node;
}

function button(name, text, action) {
  const node = make("button", name, text);
  node.type = "button";
  node.addEventListener("click", () => action(node));
  return node;
}

const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const milliseconds = (time) => (time < 10 ? `${time.toFixed(1)} ms` : time < 1000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(1)} s`);

// Names of columns; those of numbers begin with #.
function tableHead(names) {
  return make("thead", "", make("tr", "", ...names.map((name) => {
    const cell = name[0] === "#" ? make("th", "number", name.slice(1)) : make("th", "", name);
    cell.scope = "col";
    return cell;
  })));
}

// A button that opens and closes what stands before it.
function toggle(closed, open, change) {
  const node = button("small more", closed, () => {
    const opened = node.getAttribute("aria-expanded") !== "true";
    node.setAttribute("aria-expanded", String(opened));
    node.textContent = opened ? open : closed;
    change(opened);
  });
  node.setAttribute("aria-expanded", "false");
  return node;
}

// A text, or what was made of it, that may be long.
function passage(name, length, ...content) {
  const node = make("p", name, ...content);
  node.dir = "auto";
  if (length <= LONG) return [node];
  node.classList.add("short");
  return [node, toggle("Show all of it", "Show less of it", (open) => node.classList.toggle("short", !open))];
}

// What an answer is about: a text, or two, each under its name.
function source(text) {
  const parts = partsOf(text);
  if (parts.length === 1) return passage("text", text.length, text);
  return parts.flatMap((part, place) => [make("p", "part", about.pairs?.[place] ?? ""), ...passage("text", part.length, part)]);
}

function scoreRow(item, best) {
  const fill = make("div", "fill");
  fill.style.width = percent(item.score);
  const track = make("div", "track", fill);
  track.setAttribute("aria-hidden", "true");  // the number beside it says the same
  return make("li", best ? "score best" : "score", make("span", "name", item.label), track, make("span", "number", percent(item.score)));
}

function scores(answer, first = (item, index) => index === 0) {
  const list = make("ul", "scores", ...answer.map((item, index) => scoreRow(item, first(item, index))));
  const rest = [...list.children].slice(FEW);
  if (!rest.length) return [list];
  const show = (open) => rest.forEach((row) => { row.hidden = !open; });
  show(false);
  return [list, toggle(`${counted(rest.length, "more label")}`, "Fewer labels", show)];
}

// A text in pieces: those between entities, and entities. Offsets of the service are code points; JavaScript's strings
// are UTF-16, where some characters are two units.
function pieces(text, entities) {
  const at = [0];
  for (const point of text) at.push(at.at(-1) + point.length);
  const found = [];
  let reached = 0;
  for (const entity of [...entities].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const inside = Number.isInteger(entity.start) && Number.isInteger(entity.end) && entity.end < at.length;
    if (!inside || entity.start < reached || entity.end <= entity.start) continue;  // one that overlaps is listed only
    if (entity.start > reached) found.push({ text: text.slice(at[reached], at[entity.start]) });
    found.push({ text: text.slice(at[entity.start], at[entity.end]), entity });
    reached = entity.end;
  }
  if (reached < at.length - 1) found.push({ text: text.slice(at[reached]) });
  return found;
}

const groupOf = (entity) => entity.label ?? entity.entity_group ?? String(entity.entity ?? "").replace(/^[BIESLU]-/, "");

// The model's groups: its labels without their place in an entity (BIO, BILOU), and without the one for none.
const entityGroups = () => [...new Set(about.labels.map((label) => label.replace(/^[BIESLU]-/, "")))].filter((one) => one !== "O");

// A colour that stays the same for a group, whatever is answered: by its place among the model's labels.
function hue(group) {
  const place = entityGroups().indexOf(group);
  return `hue${(place < 0 ? [...group].reduce((sum, letter) => sum + letter.codePointAt(0), 0) : place) % HUES}`;
}

function marked({ text, entity }) {
  if (!entity) return text;
  const node = make("mark", `${hue(groupOf(entity))}${entity.critical ? " critical" : ""}`, make("span", "word", text.replace(/\n\s*\n\s*/g, "\n")), make("span", "tag", groupOf(entity)));
  node.title = `${groupOf(entity)}, ${percent(entity.score)}`;
  return node;
}

function entityRows(text, answer) {
  const points = [...text];
  return answer.map((entity) => make(
    "tr", "",
    make("td", "label", make("span", `swatch ${hue(groupOf(entity))}`), groupOf(entity)),
    make("td", "", points.slice(entity.start, entity.end).join("") || entity.word),
    make("td", "number", percent(entity.score)),
    make("td", "number", `${entity.start}\u2013${entity.end}`),
  ));
}

function entityTable(text, answer) {
  const table = make("table", "", tableHead(["Entity", "Words", "#Score", "#Characters"]), make("tbody", "", ...entityRows(text, answer)));
  return make("details", "", make("summary", "", counted(answer.length, "entity", "entities")), table);
}

function passageTable(text, answer) {
  const points = [...text];
  const rows = answer.map((one) => {
    const words = points.slice(one.start, one.end).join("");
    return make(
      "tr", "",
      make("td", "label", make("span", `swatch ${hue(one.label)}`), one.label),
      make("td", "", words.length > LONG ? `${words.slice(0, LONG)}\u2026` : words),
      make("td", "number", percent(one.score)),
      make("td", "number", one.page ? `page ${one.page}` : `${one.start}\u2013${one.end}`),
    );
  });
  return make("table", "", tableHead(["Label", "Passage", "#Score", "#Place"]), make("tbody", "", ...rows));
}

// The texts that are most similar to one, the most similar first.
function similarities(others) {
  const rows = others.slice(0, MANY).map((one) => make(
    "tr", "",
    make("td", "number", (one.index + 1).toLocaleString("en")),
    make("td", "", one.label.length > LONG ? `${one.label.slice(0, LONG)}\u2026` : one.label),
    make("td", "number", one.score.toFixed(3)),
  ));
  return make("table", "", tableHead(["#Text", "", "#Similarity"]), make("tbody", "", ...rows));
}

const shownNumber = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

// Whether a label of any number holds: from its threshold on, or a half, as the model was judged.
const holds = (item) => item.score >= (about.thresholds[item.label] ?? 0.5);

const written = (answer) => [answer].flat().map((one) => one.generated_text ?? one.summary_text ?? one.translation_text ?? one.text ?? JSON.stringify(one)).join("\n\n");
const words = (text) => text.split(/\s+/).filter((word) => word).length;

// One view per kind of answer; a task names its own. `show` gives what a text's card holds, `groups` what its answer can
// be found by, `sure` how certain it is (null where nothing says so), `labels` what the model tells apart, `columns` and
// `cells` what goes into a file.
const views = {
  labels: {
    empty: "The labels of each text appear here, with their scores.",
    show: (text, answer) => [...source(text), ...scores(answer)],
    groups: (answer) => answer.slice(0, 1).map((item) => item.label),
    sure: (answer) => answer[0]?.score ?? null,
    hue: () => "",
    labels: () => about.labels,
    columns: () => ["label", "score", ...(about.labels.length > 1 ? about.labels.map((label) => `score of ${label}`) : [])],
    cells(answer) {
      const by = Object.fromEntries(answer.map((item) => [item.label, item.score]));
      return [answer[0]?.label ?? "", answer[0]?.score ?? "", ...(about.labels.length > 1 ? about.labels.map((label) => by[label] ?? "") : [])];
    },
  },
  sets: {
    empty: "The labels that hold of each text appear here, with the scores of all.",
    show: (text, answer) => [...source(text), ...scores(answer, holds)],
    groups: (answer) => (answer.some(holds) ? answer.filter(holds).map((item) => item.label) : ["(none)"]),
    sure: (answer) => answer.reduce((all, item) => all * (holds(item) ? item.score : 1 - item.score), 1),
    hue: () => "",
    labels: () => [...about.labels, "(none)"],
    columns: () => ["labels", ...about.labels.map((label) => `score of ${label}`)],
    cells(answer) {
      const by = Object.fromEntries(answer.map((item) => [item.label, item.score]));
      return [JSON.stringify(answer.filter(holds).map((item) => item.label).sort()), ...about.labels.map((label) => by[label])];
    },
  },
  entities: {
    empty: "Each text appears here, with its entities marked.",
    show(text, answer) {
      const shown = passage("text marked", text.length, ...pieces(text, answer).map(marked));
      const legend = make("p", "legend", ...[...new Set(answer.map(groupOf))].map((group) => make("span", "", make("span", `swatch ${hue(group)}`), group)));
      return answer.length ? [...shown, legend, entityTable(text, answer)] : [...shown, make("p", "hint", "No entity was found in it.")];
    },
    groups: (answer) => [...new Set(answer.map(groupOf))],
    sure: (answer) => (answer.length ? Math.min(...answer.map((entity) => entity.score)) : null),
    hue,
    labels: entityGroups,
    columns: () => ["entities"],
    cells: (answer) => [JSON.stringify(answer)],
  },
  // A document: its passages, those that somebody has to look at first.
  passages: {
    empty: "The document appears here, with its passages marked.",
    show(text, answer) {
      const critical = answer.filter((one) => one.critical);
      const cut = answer.filter((one) => one.truncated).length;
      const unread = run.unread?.length ? ` Pages without text, which nobody has read: ${run.unread.join(", ")}.` : null;
      const said = `${counted(answer.length, "passage")}, ${critical.length ? `${critical.length.toLocaleString("en")} to look at` : "none that has to be looked at"}.`;
      const rest = answer.filter((one) => !one.critical && one.label !== about.fallback);
      const shown = passage("text marked", text.length, ...pieces(text, [...critical, ...rest]).map(marked));
      return [
        make("p", "", make("b", "", said), cut ? ` Of ${counted(cut, "passage")} the model has read the beginning only.` : null, unread),
        ...(critical.length ? [passageTable(text, critical)] : []),
        ...shown,
        ...(rest.length ? [make("details", "", make("summary", "", counted(rest.length, "other passage")), passageTable(text, rest))] : []),
      ];
    },
    groups: (answer) => [...new Set(answer.map((one) => one.label))],
    sure: () => null,
    hue: () => "",
    labels: () => about.labels,
    columns: () => ["passages"],
    cells: (answer) => [JSON.stringify(answer)],
  },
  vectors: {
    empty: "How similar each text is to the others appears here.",
    show(text, answer) {
      const others = run.texts.map((other, index) => ({ label: other, index, vector: run.outcomes[index]?.answer }))
        .filter((one) => one.vector && one.vector !== answer)
        .map((one) => ({ ...one, score: one.vector.reduce((sum, value, place) => sum + value * answer[place], 0) }))
        .sort((a, b) => b.score - a.score || a.index - b.index);
      const said = make("p", "hint", others.length ? "Cosine similarity with the other texts:" : "Answer several texts, one a line, to see how similar they are.");
      return [...passage("text", text.length, text), said, ...(others.length ? [similarities(others)] : [])];
    },
    groups: () => [],
    sure: () => null,
    hue: () => "",
    labels: () => [],
    columns: () => run.outcomes.find((one) => one?.answer)?.answer.map((_, place) => String(place)) ?? [],
    cells: (answer) => answer,
  },
  text: {
    empty: "What the model writes for each text appears here.",
    show(text, answer) {
      const result = written(answer);
      const said = `${counted(words(result), "word")}, of a text with ${words(text).toLocaleString("en")}`;
      const foot = make("p", "hint foot", said, button("small", "Copy", (node) => copy(result, node)));
      return [make("p", "written", result), foot, ...passage("text source", text.length, text)];
    },
    groups: () => [],
    sure: () => null,
    hue: () => "",
    labels: () => about.labels,
    columns: () => ["written"],
    cells: (answer) => [written(answer)],
  },
  numbers: {
    empty: "The number that each text gets appears here.",
    show: (text, answer) => [...source(text), make("p", "figure", make("b", "", shownNumber(answer[0].score)))],
    groups: () => [],
    sure: () => null,
    hue: () => "",
    labels: () => [],
    columns: () => ["score"],
    cells: (answer) => [answer[0].score],
  },
  // A task that this page does not know.
  json: {
    empty: "What the model answers to each text appears here.",
    show: (text, answer) => [...source(text), make("pre", "", JSON.stringify(answer, null, 1))],
    groups: () => [],
    sure: () => null,
    hue: () => "",
    labels: () => about.labels,
    columns: () => ["answer"],
    cells: (answer) => [JSON.stringify(answer)],
  },
};

// A document is asked for otherwise, and answered otherwise.
const limitsOf = (document) => (document ? { ...about.limits, max_chars: Infinity } : about.limits);
const reading = () => Boolean(about.review) && at("whole").checked;
const view = () => (about.review && run?.document ? views.passages : views[about.view] || views.json);
