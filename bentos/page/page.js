// The page: its controls. Texts never leave the box but by the person's hand.

const KEPT = "ftdeploy key";

let added = null;  // what a file brought: { before, after, columns }
let cleared = "";  // what Clear took

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
  const texts = textsIn(at("texts").value, at("whole").checked);
  const { requests: cut } = requestsFor(texts, limitsOf(reading()));
  const first = (cut[0] ?? []).map((index) => texts[index]);
  const auth = about.auth || Boolean(at("key").value.trim());
  const path = pdf || reading() ? "review" : "predict";
  at("command").textContent = curlOf(first.length ? first : ["some text"], new URL(path, document.baseURI).href, auth, pdf);
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
    return [text, ...cells, tokens ?? "", found === undefined ? "" : String(truncated), id ?? "", problem ?? ""];
  });
  const head = ["text", ...view().columns(), "tokens", "truncated", "request_id", "problem"];
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([csvOf([head, ...rows])], { type: "text/csv" }));
  link.download = `${about.name}-answers.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
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

async function load(file) {
  at("file-part").hidden = false;
  at("column-part").hidden = true;
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
    const { columns, chosen } = columnsOf(readTable(text));
    added = { columns };
    at("column").replaceChildren(...columns.map((column, index) => new Option(column.name, String(index))));
    at("column").value = String(chosen);
    at("column-part").hidden = columns.length < 2;
    texts = columns[chosen].texts;
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
    const found = textsIn(at("texts").value, at("whole").checked).length;
    const one = about.review ? "Document" : "Text";
    at("texts-label").textContent = at("whole").checked ? one : "Texts, one a line";
    at("count").textContent = found ? `${counted(found, "text")}.` : "";
  }, 100);
}

function clear() {
  const box = at("texts");
  if (stopping) stopping.abort();
  if (cleared && !box.value) {
    box.value = cleared;
    at("clear").textContent = "Clear";
    cleared = "";
  } else if (box.value) {
    cleared = box.value;
    box.value = "";
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
  at("column").addEventListener("change", () => put(added.columns[Number(at("column").value)].texts));
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
  box.addEventListener("input", () => {
    if (added?.pdf) {
      added = null;
      at("file-part").hidden = true;
    }
    cleared = "";
    at("clear").textContent = "Clear";
    count();
  });
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
const linked = new URLSearchParams(location.hash.slice(1)).get("texts");
if (linked) {
  at("texts").value = linked;
  start();
}
count();
watch();
