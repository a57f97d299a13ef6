"use strict";
// Texts in and out: cut into requests, read from files, written to one. Nothing here touches the page.

// Texts in a request: few enough for progress to be seen and answers to be in time, enough to fill the model's batches.
const A_REQUEST = 64;
const ENVELOPE = 200;  // bytes of a request beside its texts
const PDF = "application/pdf";
const A_FILE = 5e6;  // bytes: what a text box still takes without stuttering

// Between two texts that are one row; as the service has them in its records, too. No text holds it.
const BETWEEN = "\u001f";

const partsOf = (text) => text.split(BETWEEN);

// A row as a request has it.
function asInput(text) {
  const [first, second] = partsOf(text);
  return second === undefined ? text : { text: first, text_pair: second };
}

// The texts of two boxes, line by line; null where one has more than the other.
function pairsIn(value, seconds, whole) {
  const plain = (text) => text.replaceAll(BETWEEN, " ");
  const [first, second] = [value, seconds].map((texts) => textsIn(texts, whole).map(plain));
  return first.length === second.length ? first.map((text, place) => text + BETWEEN + second[place]) : null;
}

function textsIn(value, whole) {
  // Half a pair of UTF-16 is no character, and the service would refuse it.
  const fit = value.toWellFormed ? value.toWellFormed() : value;
  if (whole) return fit.trim() ? [fit.trim()] : [];
  return fit.split(/\r\n?|\n/).filter((line) => line.trim());
}

// As the service counts: code points, of which JavaScript writes some as two units.
function characters(text) {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g) || []).length;
}

function bytes(text) {
  return new TextEncoder().encode(text).length;
}

// Requests within the limits, as lists of indices; `long` are those of texts that the service would not take.
function requestsFor(texts, limits, indices = texts.keys()) {
  const most = Math.min(limits.max_texts, A_REQUEST);
  const room = limits.max_body_bytes - ENVELOPE;
  const requests = [];
  const long = [];
  let used = 0;
  for (const index of indices) {
    if (Math.max(...partsOf(texts[index]).map(characters)) > limits.max_chars) {
      long.push(index);
      continue;
    }
    const size = bytes(JSON.stringify(asInput(texts[index]))) + 1;
    const last = requests.at(-1);
    if (last && last.length < most && used + size <= room) {
      last.push(index);
      used += size;
    } else {
      requests.push([index]);
      used = size;
    }
  }
  return { requests, long };
}

// Rows of cells out of comma-, semicolon- or tab-separated values, quoted as in RFC 4180.
function readTable(text) {
  const head = text.split("\n", 1)[0];
  const separator = [",", ";", "\t"].reduce((best, one) => (head.split(one).length > head.split(best).length ? one : best));
  const cells = new RegExp(`(?:"([^"]*(?:""[^"]*)*)"?|([^${separator}\\r\\n]*))(${separator}|\\r\\n?|\\n|$)`, "g");
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(cells)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (!end) break;
    if (end !== separator) rows.push([]);
  }
  return rows.filter((row) => row.some((cell) => cell.trim()));
}

// Columns of a table, and which of them looks like the texts: by its name, else the one with the longest cells.
function columnsOf(rows) {
  const named = /^(text|texts|body|content|message|review|comment|sentence|description|document|title)$/i;
  const width = rows.reduce((most, row) => Math.max(most, row.length), 0);  // not spread: there may be a million
  const headed = width > 1 || named.test(rows[0][0].trim());
  const cells = headed ? rows.slice(1) : rows;
  const columns = Array.from({ length: width }, (_, index) => {
    // A line of the text box is a text, so a cell of several lines becomes one.
    const every = cells.map((row) => (row[index] || "").replace(/\s*[\r\n]+\s*/g, " ").trim());
    return { name: (headed && (rows[0][index] || "").trim()) || `column ${index + 1}`, every, texts: every.filter((text) => text) };
  });
  const length = (column) => column.texts.reduce((sum, text) => sum + text.length, 0);
  const byName = columns.findIndex((column) => named.test(column.name));
  const longest = columns.reduce((best, column, index) => (length(column) > length(columns[best]) ? index : best), 0);
  return { columns, chosen: byName < 0 ? longest : byName };
}

// A file's text: UTF-8, or what Windows writes where it is not.
function decoded(buffer) {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(buffer), encoding: "UTF-8" };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(buffer), encoding: "Windows-1252" };
  }
}

// A spreadsheet runs a cell that begins with one of these as a formula (OWASP, "CSV Injection"): an apostrophe before
// it keeps it a text.
function csvCell(value) {
  if (typeof value === "number") return String(value);
  const text = String(value ?? "");
  const kept = /^[\t\r\n]|^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  return `"${kept.replaceAll('"', '""')}"`;
}

function csvOf(rows) {
  // The mark at the beginning tells a spreadsheet that this is UTF-8.
  return `\ufeff${rows.map((row) => row.map(csvCell).join(",")).join("\r\n")}\r\n`;
}

// The request as a command for a POSIX shell. The key stays out of it: a history of commands is no place for one.
function curlOf(texts, url, auth, pdf) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const body = pdf ? `--data-binary ${quoted(`@${pdf.name}`)}` : `-d ${quoted(JSON.stringify({ inputs: texts.length === 1 ? asInput(texts[0]) : texts.map(asInput) }))}`;
  const key = auth ? ' -H "authorization: Bearer $FTDEPLOY_TOKEN"' : "";
  return `curl -s ${quoted(url)} -H 'content-type: ${pdf ? PDF : "application/json"}'${key} ${body}`;
}
