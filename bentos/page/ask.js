// Asking: texts go out in requests within the limits, and their outcomes come back, whatever goes wrong on the way.

const TRIES = 4;  // for a request that is refused for the moment
const PATIENCE = 60;  // seconds that a request waits to be tried again
const A_MOMENT = 400;  // milliseconds that a single request may take before its progress is shown
const SMALL = 16;  // texts of a request that is not cut further when there was no answer in time

let run = null;  // the last one: texts, outcomes by index, requests
let stopping = null;  // its AbortController while it is under way

function authorization() {
  const key = at("key").value.trim();
  return key ? { authorization: `Bearer ${key}` } : {};
}

function serviceTime(response) {
  const found = /(?:^|,)\s*answer;dur=([\d.]+)/.exec(response.headers.get("server-timing") ?? "");
  return found ? Number(found[1]) : null;
}

// Seconds until a refused request may come again; null when that is not said.
function secondsToWait(response) {
  const said = response.headers.get("retry-after");
  if (!said) return null;
  const seconds = /^\d+$/.test(said) ? Number(said) : (Date.parse(said) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(1, Math.ceil(seconds)) : null;
}

async function send(texts, signal) {
  const headers = { "content-type": run.pdf ? PDF : "application/json", ...authorization() };
  const path = run.document ? "review" : "predict";
  const body = run.pdf ?? JSON.stringify(run.document ? { inputs: texts[0] } : { inputs: texts.map(asInput), parameters: { details: true } });
  const began = performance.now();
  try {
    const response = await fetch(path, { method: "POST", headers, body, signal });
    const text = await response.text();
    const time = performance.now() - began;
    let found = null;
    try {
      found = JSON.parse(text);
    } catch { /* not from the service: a proxy's page */ }
    if (response.ok && Array.isArray(found?.passages)) found = { ...found, predictions: [found.passages] };
    if (response.ok && Array.isArray(found?.predictions)) return { found, time, service: serviceTime(response) };
    return { status: response.status, kind: found?.error_type, said: found?.error, again: secondsToWait(response) };
  } catch (error) {
    if (signal.aborted) throw error;
    return { status: 0 };
  }
}

// Send it; where the service is only too busy or not ready yet, wait as long as it says and send it again.
async function ask(texts, signal) {
  for (let tries = 1; ; tries += 1) {
    const reply = await send(texts, signal);
    const passing = [429, 503].includes(reply.status) && reply.kind !== "timeout" && reply.again && reply.again <= PATIENCE;
    if (!passing || tries >= TRIES) return reply;
    await wait(reply, signal);
  }
}

async function wait(reply, signal) {
  const why = reply.status === 429 ? "The service is busy" : "The model is not ready";
  announce(`${why}; this page tries again in ${counted(reply.again, "second")}.`);
  at("progress").hidden = false;
  for (let left = reply.again; left > 0; left -= 1) {
    at("progress-says").textContent = `${why}; trying again in ${left} s.`;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000);
      signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
    });
  }
}

// What went wrong, what to do about it, and what the service said itself.
function inWords({ status, kind, said, again }) {
  const when = again ? `Try again in ${counted(again, "second")}.` : "Try again in a moment.";
  const known = {
    0: ["The service does not answer.", "It may be restarting, or the network is gone. Try again in a moment."],
    401: at("key").value.trim() ? ["The key was not accepted.", "Check it for a letter too few or too many."] : ["The service wants a key.", "Type it above the texts, and run again."],
    403: ["This key may not ask for answers.", "It wants the scope predict."],
    408: ["The texts did not arrive in time.", "Try again, or with fewer of them."],
    413: ["This is more than the service takes at once.", "Shorten the text."],
    429: ["The service is busy.", when],
    500: ["The service has made a mistake.", "Its log says which."],
    503: {
      timeout: ["The model did not answer in time.", "Try again with fewer or shorter texts."],
      backend: ["The model failed on these texts.", "The log of the service says why."],
    }[kind] ?? ["The model is not ready.", when],
  }[status];
  if (known) return { what: known[0], fix: known[1], said };
  if (said) return { what: `The service refused this (${status}).`, fix: "", said };
  return { what: `Something between this page and the service answered (${status}).`, fix: "Try again in a moment.", said };
}

// What stands in the text box, or in both; null where the second has not a text for each of the first.
function typed() {
  const whole = at("whole").checked;
  return about.pairs ? pairsIn(at("texts").value, at("seconds").value, whole) : textsIn(at("texts").value, whole);
}

async function start() {
  if (stopping) return;
  const pdf = added?.pdf;
  const texts = pdf ? [pdf.name] : typed();
  if (!texts) {
    complain({ what: "There are not as many second texts as first ones.", fix: "Each line above wants one below." });
    at("seconds").focus();
    return;
  }
  if (!texts.length) {
    complain({ what: "There is no text yet.", fix: "Type or paste one, then run." });
    at("texts").focus();
    return;
  }
  if (/[^\x21-\x7e]/.test(at("key").value.trim())) {
    complain({ what: "This is no key.", fix: "A key has letters, digits and signs, and no spaces." });
    at("key").focus();
    return;
  }
  run = { texts, pdf, document: Boolean(pdf) || reading(), outcomes: [], requests: [], time: 0 };
  only = null;
  at("order").value = "asked";
  at("answers").replaceChildren();
  cards = 0;
  await answer();
}

// Answer every text of the run that has no outcome yet.
async function answer() {
  const open = [...run.texts.keys()].filter((index) => !run.outcomes[index]);
  const { requests, long } = requestsFor(run.texts, limitsOf(run.document), open);
  for (const index of long) {
    run.outcomes[index] = { problem: `It has ${counted(Math.max(...partsOf(run.texts[index]).map(characters)), "character")}; the service takes ${about.limits.max_chars.toLocaleString("en")}.` };
  }
  complain(null);
  stopping = new AbortController();
  const slow = setTimeout(() => { at("progress").hidden = false; }, requests.length > 1 ? 0 : A_MOMENT);
  busy(true);
  const began = performance.now();
  let failed = null;
  try {
    failed = await answerAll(requests, stopping.signal);
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    failed = { what: "Stopped.", fix: "" };
  } finally {
    clearTimeout(slow);
    stopping = null;
    run.time += performance.now() - began;
    busy(false);
    conclude(failed);
  }
}

async function answerAll(requests, signal) {
  while (requests.length) {
    const indices = requests.shift();
    const reply = await ask(indices.map((index) => run.texts[index]), signal);
    const cut = reply.status === 413 ? 1 : reply.kind === "timeout" ? SMALL : Infinity;
    if (reply.found) {
      take(indices, reply);
    } else if (indices.length > cut) {
      const half = Math.ceil(indices.length / 2);
      requests.unshift(indices.slice(0, half), indices.slice(half));
    } else if (reply.status === 413) {
      const { what, said } = inWords(reply);
      run.outcomes[indices[0]] = { problem: said ? sentence(said) : what };
    } else {
      if (reply.status === 401) at("key-part").hidden = false;
      return { ...inWords(reply), key: reply.status === 401 };
    }
    progress();
  }
  return null;
}

function take(indices, { found, time, service }) {
  if (run.pdf) Object.assign(run, { texts: [found.text], unread: found.pages_without_text });
  indices.forEach((index, place) => {
    run.outcomes[index] = {
      answer: found.predictions[place],
      truncated: found.truncated?.[place] ?? false,
      tokens: found.tokens?.[place],
      id: found.request_id,
    };
  });
  run.requests.push({ from: indices[0] + 1, to: indices.at(-1) + 1, time, service, id: found.request_id });
}
