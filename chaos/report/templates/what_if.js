"use strict";
// *What if from here*: makes the command line of `keystead chaos fork` from a form, sends it, and
// shows how far the fork is and then both runs.
let forking = null;

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

function forkLine() {
  const values = new Map();
  for (const field of at("fork-form").querySelectorAll("[data-field]")) {
    const value = field.value.trim();
    const name = field.dataset.field;
    if (value) values.set(name, [...(values.get(name) ?? []), value]);
  }
  const words = ["chaos", "fork", at("fork-form").dataset.run, at("fork-kind").value];
  for (const [name, found] of values) {
    words.push(`${name}=${found.length > 1 ? `[${found.join(",")}]` : found[0]}`);
  }
  words.push("--at", `${chosenMoment()}s`);
  const lasts = at("fork-for").value.trim();
  if (lasts) words.push("--for", lasts);
  if (at("other-code").checked) words.push("--other-code");
  return words.map(quoted).join(" ");
}

function showForkLine() {
  const { begin, end } = at("fork-form").dataset;
  const t = chosenMoment();
  const within = t >= Number(begin) && t < Number(end);
  at("fork-at").textContent = moment(t);
  at("fork-line").textContent = `keystead ${forkLine()}`;
  at("fork-when").textContent = within ? "" : `Faults begin from ${moment(Math.ceil(begin))} to ${moment(end)}: choose such a moment above.`;
  at("fork").disabled = !token || !within || forking !== null;
}

async function chooseFault() {
  const answer = await fetch(`fault?kind=${encodeURIComponent(at("fork-kind").value)}`);
  if (!answer.ok) return sayFork(await answer.text(), true);
  at("p-fields").innerHTML = await answer.text();
  showForkLine();
}

function sayFork(text, bad) {
  at("fork-step").textContent = text;
  at("fork-step").className = bad ? "bad" : "";
}

function hearFork(text) {
  if (!text) return;
  const heard = JSON.parse(text);
  if (heard.step) sayFork(heard.step, false);
  if (heard.error) sayFork(heard.error, true);
  if (!heard.html) return;
  sayFork("done", false);
  put(at("p-both"), heard.html);
  at("h-both").focus();
}

async function readFork(answer) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  for (let pending = ""; ; ) {
    const { done, value } = await reader.read();
    pending += decoder.decode(value, { stream: !done });
    const lines = pending.split("\n");
    pending = done ? "" : lines.pop();
    for (const line of lines) hearFork(line);
    if (done) return;
  }
}

async function playFork() {
  forking = new AbortController();
  at("fork-stop").hidden = false;
  at("p-both").innerHTML = "";
  showForkLine();
  sayFork("begins …", false);
  try {
    const headers = { [HEADER]: token, "Content-Type": "application/json" };
    const body = JSON.stringify({ line: forkLine() });
    const answer = await fetch("fork", { method: "POST", headers, body, signal: forking.signal });
    if (answer.status === 403) sayFork(await answer.text(), true);
    else await readFork(answer);
  } catch (error) {
    sayFork(error.name === "AbortError" ? "stopped" : `The server does not answer: ${error.message}`, true);
  }
  forking = null;
  at("fork-stop").hidden = true;
  showForkLine();
}

if (at("fork-form")) {
  at("fork-form").addEventListener("input", (event) => {
    if (event.target === at("fork-kind")) chooseFault();
    else showForkLine();
  });
  at("fork-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!at("fork").disabled) playFork();
  });
  at("fork-stop").addEventListener("click", () => forking?.abort());
  document.addEventListener("moment", showForkLine);
  showForkLine();
}
