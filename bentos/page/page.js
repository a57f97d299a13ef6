// The page: its controls. Texts never leave the box but by the person's hand.

const KEPT = "ftdeploy key";

let added = null;  // what a file brought: { before, after, columns }
let cleared = null;  // what Clear took, of both boxes

// Copying, files

async function copy(text, node) {
  const before = node.textContent;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // only secure origins have a clipboard: the old way, by a selection
    const box = make("textarea", "hidden");
    box.value = text;
    document.body.append(box);
    box.select();
    done = document.execCommand("copy");
    box.remove();
    node.focus();
  }
  const says = done ? "Copied" : "Select it, and press Ctrl + C";
  node.textContent = says;
  announce(says);
  setTimeout(() => { if (node.textContent === says) node.textContent = before; }, 2000);
}

function showCommand() {
  const pdf = added?.pdf;
  const texts = typed() ?? [];
  const example = about.pairs ? ["some text", "its second text"].join(BETWEEN) : "some text";
  const { requests: cut } = requestsFor(texts, limitsOf(reading()));
  const first = (cut[0] ?? []).map((index) => texts[index]);
  const auth = about.auth || Boolean(at("key").value.trim());
  const path = pdf || reading() ? "review" : "predict";
  at("command").textContent = curlOf(first.length ? first : [example], new URL(path, document.baseURI).href, auth, pdf);
  const says = [
    first.length < texts.length ? `The first ${first.length} of ${counted(texts.length, "text")}.` : "",
    auth ? "The key is taken from the variable FTDEPLOY_TOKEN." : "",
  ];
  at("command-says").textContent = says.join(" ").trim();
  at("command-part").hidden = false;
  copy(at("command").textContent, at("curl"));
}

function download() {
  const rows = run.texts.map((text, index) => {
    const { answer: found, tokens, truncated, id, problem } = run.outcomes[index] ?? { problem: "not asked" };
    const cells = found === undefined ? view().columns().map(() => "") : view().cells(found);
    return [...partsOf(text), ...cells, tokens ?? "", found === undefined ? "" : String(truncated), id ?? "", problem ?? ""];
  });
  const head = ["text", ...(about.pairs ? ["text_pair"] : []), ...view().columns(), "tokens", "truncated", "request_id", "problem"];
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([csvOf([head, ...rows])], { type: "text/csv" }));
  link.download = `${about.name}-answers.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Two columns of a table, the rows that have both.
function putPairs() {
  const [first, second] = ["column", "second-column"].map((id) => added.columns[Number(at(id).value)].every);
  const rows = first.map((text, place) => [text, second[place]]).filter((row) => row.every((text) => text));
  at("seconds").value = rows.map((row) => row[1]).join("\n");
  at("texts").value = rows.map((row) => row[0]).join("\n");
  at("whole").checked = false;
  count();
  return rows;
}

function put(texts, whole = false) {
  const box = at("texts");
  // Typed since the file came: what it brings now goes below.
  const before = added && box.value === added.after ? added.before : box.value;
  const after = (before && !before.endsWith("\n") ? `${before}\n` : before) + texts.join("\n");
  box.value = after;
  added = { ...added, before, after };
  at("whole").checked = whole;
  count();
}

// Nothing goes wrong without a word: a file may be gone by now, or be more than the browser takes.
async function load(file) {
  try {
    await readFile(file);
  } catch (error) {
    added = null;
    at("column-part").hidden = at("second-column-part").hidden = true;
    at("file-says").textContent = `${file.name} cannot be read: ${error.message || error.name}`;
  }
}

async function readFile(file) {
  at("file-part").hidden = false;
  at("column-part").hidden = at("second-column-part").hidden = true;
  added = null;
  const refuse = (why) => { at("file-says").textContent = `${file.name} ${why}`; };
  if (about.pdf && (file.type === PDF || /\.pdf$/i.test(file.name))) {
    if (file.size > about.limits.max_body_bytes) return refuse(`is larger than the ${about.limits.max_body_bytes.toLocaleString("en")} bytes that the service takes.`);
    at("texts").value = "";
    count();
    added = { pdf: file };
    at("file-says").textContent = `${file.name}: a PDF, whose text the service reads. Run asks for it.`;
    return at("run").focus();
  }
  if (file.size > A_FILE) return refuse("is larger than 5 MB; the service takes it by its API.");
  const { text, encoding } = decoded(await file.arrayBuffer());
  if (text.includes("\0")) return refuse("is not a text file.");
  let texts = textsIn(text, false);
  if (/\.[ct]sv$/i.test(file.name) && texts.length) {
    const rows = readTable(text);
    if (!rows.length) return refuse("holds no text.");
    const { columns, chosen } = columnsOf(rows);
    added = { columns };
    at("column").replaceChildren(...columns.map((column, index) => new Option(column.name, String(index))));
    at("column").value = String(chosen);
    at("column-part").hidden = columns.length < 2;
    texts = columns[chosen].texts;
    if (about.pairs && columns.length > 1) {
      const named = about.pairs.map((name, place) => columns.findIndex((column) => [name, ["text", "text_pair"][place]].includes(column.name)));
      const first = named[0] < 0 ? chosen : named[0];
      at("second-column").replaceChildren(...columns.map((column, index) => new Option(column.name, String(index))));
      at("column").value = String(first);
      at("second-column").value = String(named[1] < 0 ? (first === 0 ? 1 : 0) : named[1]);
      at("second-column-part").hidden = false;
      at("file-says").textContent = `${file.name}: ${counted(putPairs().length, "text")}${encoding === "UTF-8" ? "" : `, read as ${encoding}`}.`;
      return at("texts").focus();
    }
  }
  const document = reading() && !added;
  put(document ? [text] : texts, document);
  at("file-says").textContent = `${file.name}: ${document ? "a document" : counted(texts.length, "text")}${encoding === "UTF-8" ? "" : `, read as ${encoding}`}.`;
  at("texts").focus();
}

// Wiring

let counting = 0;
function count() {
  clearTimeout(counting);
  counting = setTimeout(() => {
    const whole = at("whole").checked;
    const found = typed();
    const one = about.review ? "Document" : "Text";
    at("texts-label").textContent = whole ? one : "Texts, one a line";
    if (about.pairs) {
      ["texts-label", "seconds-label"].forEach((id, place) => { at(id).textContent = `${about.pairs[place]}${whole ? "" : ", one a line"}`; });
    }
    at("count").textContent = found === null ? "Not as many second texts as first ones." : found.length ? `${counted(found.length, "text")}.` : "";
  }, 100);
}

function clear() {
  const box = at("texts");
  const boxes = [box, at("seconds")];
  if (stopping) stopping.abort();
  if (cleared && !boxes.some((one) => one.value)) {
    boxes.forEach((one, place) => { one.value = cleared[place]; });
    at("clear").textContent = "Clear";
    cleared = null;
  } else if (boxes.some((one) => one.value)) {
    cleared = boxes.map((one) => one.value);
    boxes.forEach((one) => { one.value = ""; });
    at("clear").textContent = "Undo";
  }
  at("command-part").hidden = true;
  at("file-part").hidden = true;
  added = null;
  complain(null);
  count();
  box.focus();
}

function keepKey() {
  try {
    if (at("keep").checked) sessionStorage.setItem(KEPT, at("key").value);
    else sessionStorage.removeItem(KEPT);
  } catch { /* storage is switched off: it stays in the page */ }
}

function recallKey() {
  try {
    const kept = sessionStorage.getItem(KEPT);
    at("key").value = kept ?? "";
    at("keep").checked = kept !== null;
  } catch { /* storage is switched off */ }
}

function wire() {
  const box = at("texts");
  at("form").addEventListener("submit", (event) => { event.preventDefault(); start(); });
  at("stop").addEventListener("click", () => stopping?.abort());
  at("curl").addEventListener("click", showCommand);
  at("clear").addEventListener("click", clear);
  at("open").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => { if (at("file").files[0]) load(at("file").files[0]); at("file").value = ""; });
  at("column").addEventListener("change", () => (at("second-column-part").hidden ? put(added.columns[Number(at("column").value)].texts) : putPairs()));
  at("second-column").addEventListener("change", putPairs);
  at("export").addEventListener("click", download);
  at("order").addEventListener("change", list);
  at("more").addEventListener("click", () => {
    const from = cards;
    extend(cards + A_PAGE);
    at("answers").children[from].focus();
  });
  at("copy-digest").addEventListener("click", () => copy(about.digest, at("copy-digest")));
  at("key").addEventListener("input", keepKey);
  at("keep").addEventListener("change", keepKey);
  at("whole").addEventListener("change", count);
  for (const one of [box, at("seconds")]) {
    one.addEventListener("input", () => {
      if (added?.pdf) {
        added = null;
        at("file-part").hidden = true;
      }
      cleared = null;
      at("clear").textContent = "Clear";
      count();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); start(); }
    if (event.key === "Escape" && stopping) stopping.abort();
  });
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  for (const name of ["dragenter", "dragover"]) {
    at("form").addEventListener(name, (event) => { if (files(event)) { event.preventDefault(); at("form").classList.add("over"); } });
  }
  for (const name of ["dragleave", "drop"]) at("form").addEventListener(name, () => at("form").classList.remove("over"));
  at("form").addEventListener("drop", (event) => { if (files(event)) { event.preventDefault(); load(event.dataTransfer.files[0]); } });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(looking) : watch()));
}

wire();
describe();
recallKey();
at("whole").checked = about.view === "text" || Boolean(about.review);
const link = new URLSearchParams(location.hash.slice(1));
const linked = link.get("texts");
if (linked) {
  at("texts").value = linked;
  at("seconds").value = link.get("seconds") ?? "";
  start();
}
count();
watch();
