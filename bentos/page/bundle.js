// The bundle: what it says of itself, its report, and the state of the service, which is looked at again and again.

const SOON = 2000;  // milliseconds until the service is looked at again, while it is not ready
const LATER = 15000;  // and while it is
const MARKS = { pass: "\u2713", fail: "\u2715", inconclusive: "?", measured: "\u2013" };
const DRIFT = {
  none: "none seen",
  watching: "watching",
  alarm: "alarm",
  "not measured": "not measured yet",
};
const DRIFT_SAYS = {
  none: "None seen: the traffic looks like the data that the model was tested on.",
  watching: "Something moved in the traffic; more of it has to tell.",
  alarm: "The traffic no longer looks like the data that the model was tested on.",
  "not measured": "Not measured yet: nothing compares the traffic with the data that the model was tested on.",
};

const RECORDS = {
  nothing: "Texts are answered by this server and not stored.",
  features: "Texts are answered by this server and not stored; their labels, lengths and other numbers are recorded.",
  "masked texts": "Texts are answered by this server and stored in its records, with what looks like an identifier of a person masked.",
  texts: "Texts are answered by this server and stored in its records.",
};

let looking = 0;  // timer of watch

function describe() {
  at("name").textContent = about.name;
  document.title = `${about.name}: try the model`;
  at("task").textContent = about.task.replaceAll("-", " ");
  at("short").textContent = about.digest.slice(0, 12);
  const reads = about.view === "entities"
    ? "A text may have any length"  // it is read sentence by sentence
    : about.pairs
    ? `Both texts are read up to ${about.max_length.toLocaleString("en")} tokens, the longer one is cut first`
    : about.windows
    ? `A text is read in up to ${about.windows.most} windows of ${about.max_length.toLocaleString("en")} tokens`
    : `A text is read up to ${about.max_length.toLocaleString("en")} tokens`;
  at("second-part").hidden = !about.pairs;
  if (about.pairs) at("whole-says").textContent = "Each box is one text";
  if (about.review) at("whole-says").textContent = "Read it as one document";
  if (about.pdf) at("file").accept += ",.pdf,application/pdf";
  at("hint").textContent = ` ${about.review ? "A document is read passage by passage" : reads}. Ctrl + Enter runs.`;
  at("empty").textContent = (about.review ? views.passages : view()).empty;
  at("metrics").hidden = about.auth;
  if (about.auth) at("key-part").hidden = false;
  at("records").textContent = RECORDS[about.records];
  const report = about.report;
  at("verdict").className = `verdict ${report ? report.verdict : "unknown"}`;
  at("verdict").textContent = report ? `${MARKS[report.verdict]} ${report.verdict}: ${tally(report, true)}` : "no report";
  at("report").replaceChildren(...(report ? reported(report) : [make("p", "hint", "The bundle holds no report that this page can read.")]));
  drift(about.drift);
}

function tally(report, short) {
  const all = report.gates.length;
  const passed = report.counts.pass;
  if (short) return `${passed} of ${counted(all, "gate")}`;
  const rows = `on ${counted(report.rows, "test row")}`;
  if (!all) return `The suite ${report.suite} has no gate that could be asked, ${rows}.`;
  if (passed === all) return `${all === 1 ? "The only gate" : `All ${all} gates`} of the suite ${report.suite} passed, ${rows}.`;
  const parts = [["fail", "failed"], ["inconclusive", "cannot tell"], ["pass", "passed"]].filter(([verdict]) => report.counts[verdict]);
  return `Of the ${counted(all, "gate")} of the suite ${report.suite}, ${parts.map(([verdict, word]) => `${report.counts[verdict]} ${word}`).join(", ")}, ${rows}.`;
}

const digits = (value) => (Number.isFinite(value) ? value.toFixed(4) : "not known");

function metricRow(one) {
  const name = make("th", "", one.metric.replaceAll("_", " "));
  name.scope = "row";
  const cells = [make("b", "", digits(one.value)), `${digits(one.lower)} \u2013 ${digits(one.upper)}`, digits(one.baseline)];
  return make("tr", "", name, ...cells.map((cell) => make("td", "number", cell)));
}

function reported(report) {
  const said = make("p", `verdict ${report.verdict}`, make("span", "sign", MARKS[report.verdict]), tally(report, false));
  said.firstChild.setAttribute("aria-hidden", "true");
  const table = make("table", "metrics", tableHead(["Metric", "#Score", "#Interval", "#Baseline"]), make("tbody", "", ...report.metrics.map(metricRow)));
  const note = make("p", "hint", `Each end of an interval holds with ${Math.round(100 * report.confidence)}% confidence.`);
  const gates = make("ul", "gates", ...report.gates.map((gate) => make(
    "li", gate.verdict, make("b", "", `${MARKS[gate.verdict]} ${gate.name}`), make("span", "", ` ${gate.verdict}. ${gate.explanation}`),
  )));
  const parts = report.metrics.length ? [said, table, note] : [said];
  return report.gates.length ? [...parts, make("details", "", make("summary", "", "What the gates say"), gates)] : parts;
}

function namesOf(labels) {
  const names = make("ul", "names", ...labels.map((label) => make("li", "", label)));
  const rest = [...names.children].slice(MANY);
  const show = (open) => rest.forEach((label) => { label.hidden = !open; });
  show(false);
  return rest.length ? [names, toggle(counted(rest.length, "more label"), "Fewer labels", show)] : [names];
}

const least = () => Object.entries(about.thresholds);

function listedThresholds() {
  const scores = least().map(([label, score]) => `${label} ${percent(score)}`);
  const rest = scores.length > MANY ? `, and ${counted(scores.length - MANY, "other")}` : "";
  return `${scores.slice(0, MANY).join(", ")}${rest}`;
}

const unsure = () => `${about.fallback}: answered first where the best label of the model scores less than it must (${listedThresholds()}).`;

const holding = () => `from a threshold of its own on (${listedThresholds()})${least().length < about.labels.length ? ", others from 50% on" : ""}.`;

function drift(found) {
  const state = found?.state ?? "not measured";
  const moved = Object.entries(found?.detectors ?? {}).filter(([, one]) => one === state && one !== "none");
  const where = moved.length ? ` (${moved.map(([name]) => name.replaceAll("_", " ")).join(", ")})` : "";
  at("drift").textContent = (DRIFT[state] ?? state) + where;
  at("drift").className = `drift ${state.replaceAll(" ", "-")}`;
  const { limits } = about;
  const names = view().labels();
  const pairs = [
    ["Digest", [make("code", "", about.digest)]],
    ["Drift", [(DRIFT_SAYS[state] ?? state) + where]],
    ...(names.length ? [[counted(names.length, "label"), namesOf(names)]] : []),
    ...(about.review?.critical.length ? [["To look at", [about.review.critical.join(", ")]]] : []),
    ...(about.fallback ? [["Fallback", [unsure()]]] : []),
    ...(about.view === "sets" && least().length ? [["A label holds", [holding()]]] : []),
    ["Limits", [`${limits.max_texts.toLocaleString("en")} texts and ${limits.max_body_bytes.toLocaleString("en")} bytes a request, ${limits.max_chars.toLocaleString("en")} characters a text. This page splits what is more.`]],
    ["Served by", [`ftdeploy ${about.version}`]],
  ];
  const key = JSON.stringify([about.digest, state, where]);
  if (at("pairs").dataset.of === key) return;
  at("pairs").dataset.of = key;
  at("pairs").replaceChildren(...pairs.flatMap(([term, content]) => [make("dt", "", term), make("dd", "", ...content)]));
}

async function watch() {
  clearTimeout(looking);
  let found = null;
  try {
    const response = await fetch("about");
    if (response.ok) found = await response.json();
  } catch { /* the state below says it */ }
  const state = found ? found.state : "not reachable";
  if (at("state").textContent !== state) at("state").textContent = state;
  at("state").className = `state ${state === "ready" ? "good" : state === "loading" ? "soon" : "bad"}`;
  if (found && found.digest !== about.digest) {
    about = found;
    describe();
    announce(`The service runs another bundle now: ${about.digest.slice(0, 12)}.`);
  } else if (found) {
    drift(found.drift);
  }
  clearTimeout(looking);
  if (!document.hidden) looking = setTimeout(watch, state === "ready" ? LATER : SOON);
}
