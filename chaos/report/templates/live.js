"use strict";
// The page of `keystead watch --web`: puts parts of the page in place as they come, opens the drawer
// of what an address names, and sends back the command line of a button.
const at = (id) => document.getElementById(id);
const HEADER = "X-Keystead-Token";
const clock = { time: 0, pace: 0, since: performance.now() };
const token = takeToken();
let opener = null;

// The token stands in the address once, and is then kept for this tab alone.
function takeToken() {
  const given = /^#token=([^&]+)(?:&(.+))?$/.exec(location.hash);
  if (given) {
    sessionStorage.setItem("token", given[1]);
    history.replaceState(null, "", given[2] ? `#${given[2]}` : location.pathname);
  }
  return sessionStorage.getItem("token") || "";
}

// A part that is replaced keeps the focus of what was in it; its heading has it when that has gone.
function put(element, html) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const mark = focused && ["data-line", "href", "id"].find((name) => focused.hasAttribute(name));
  const value = mark && CSS.escape(focused.getAttribute(mark));
  element.innerHTML = html;
  for (const button of element.querySelectorAll("button[data-line]")) button.disabled = !token;
  const next = mark && (element.querySelector(`[${mark}="${value}"]`) ?? element.querySelector("[tabindex='-1']"));
  next?.focus({ preventScroll: true });
  for (const title of element.querySelectorAll("svg a > * > title")) {
    title.closest("a").setAttribute("aria-label", title.textContent);
  }
  filter();
  tick();
}

function filter() {
  const wanted = at("filter")?.value.toLowerCase() ?? "";
  for (const tile of document.querySelectorAll(".tile")) {
    tile.hidden = !tile.textContent.toLowerCase().includes(wanted);
  }
}

function moment(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// Lab time goes on between two messages, at the lab's pace.
function tick() {
  const now = clock.time + ((performance.now() - clock.since) / 1000) * clock.pace;
  if (at("clock")) at("clock").textContent = moment(now);
  for (const left of document.querySelectorAll("time[data-until]")) {
    left.textContent = `${moment(Number(left.dataset.until) - now)} left`;
  }
}

function say(text, bad) {
  at("said").textContent = text;
  at("said").className = bad ? "bad" : "";
}

// The drawer ----------------------------------------------------------------------------------

const named = () => /^#((?:host|vm|server|link):.+)$/.exec(location.hash)?.[1];

async function openDrawer(fresh) {
  const of = named();
  if (!of) return closeDrawer();
  const answer = await fetch(`why?of=${encodeURIComponent(decodeURIComponent(of))}`);
  const html = await answer.text();
  if (named() !== of) return;
  put(at("inside"), html);
  at("drawer").hidden = false;
  if (fresh) at("h-drawer")?.focus();
}

function closeDrawer() {
  if (at("drawer").hidden) return;
  at("drawer").hidden = true;
  if (named()) history.replaceState(null, "", location.pathname);
  if (opener) document.querySelector(`a[href="${CSS.escape(opener)}"]`)?.focus();
  opener = null;
}

async function act(button) {
  const line = button.dataset.line;
  button.setAttribute("aria-busy", "true");
  say(`keystead ${line} …`, false);
  try {
    const headers = { [HEADER]: token, "Content-Type": "application/json" };
    const answer = await fetch("do", { method: "POST", headers, body: JSON.stringify({ line }) });
    const said = answer.headers.get("content-type")?.includes("json") ? await answer.json() : { ok: false, text: await answer.text() };
    say(said.text, !said.ok);
  } catch (error) {
    say(`The server does not answer: ${error.message}`, true);
  }
  button.removeAttribute("aria-busy");
  await openDrawer(false);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-line]");
  if (button && !button.hasAttribute("aria-busy")) act(button);
  const link = event.target.closest("a[href^='#']");
  if (link) opener = link.getAttribute("href");
  if (event.target.closest("#close")) closeDrawer();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDrawer();
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
    event.preventDefault();
    at("filter")?.focus();
  }
});

// News ----------------------------------------------------------------------------------------

function follow() {
  const source = new EventSource(document.body.dataset.live);
  const shown = (text, how) => {
    at("link").textContent = text;
    at("link").className = how;
  };
  source.onmessage = (event) => {
    const news = JSON.parse(event.data);
    Object.assign(clock, { time: news.time, pace: news.pace, since: performance.now() });
    for (const [name, html] of Object.entries(news.parts)) if (at(`p-${name}`)) put(at(`p-${name}`), html);
    shown("live", "on");
    if (Object.keys(news.parts).length && !at("drawer").hidden) openDrawer(false);
  };
  source.onerror = () => {
    shown("reconnecting", "off");
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
}

// Stored runs: a moment for each change, and `#t=SECONDS` in the address ----------------------------

async function showMoment(t) {
  const answer = await fetch(`at?t=${encodeURIComponent(t)}`);
  if (!answer.ok) return say(await answer.text(), true);
  const found = await answer.json();
  Object.assign(clock, { time: found.time, pace: 0, since: performance.now() });
  for (const [name, html] of Object.entries(found.parts)) if (at(`p-${name}`)) put(at(`p-${name}`), html);
}

const chosenMoment = () => Number(/^#t=([\d.]+)$/.exec(location.hash)?.[1] ?? 0);

function scrub() {
  const times = document.body.dataset.moments.split(" ").map(Number);
  const place = () => {
    const t = chosenMoment();
    document.dispatchEvent(new Event("moment"));
    at("scrub").value = Math.max(0, times.findLastIndex((time) => time <= t + 0.0005));
    at("scrub").setAttribute("aria-valuetext", moment(t));
    showMoment(t);
  };
  at("scrub").max = times.length - 1;
  at("scrub").addEventListener("input", () => {
    history.replaceState(null, "", `#t=${times[at("scrub").value]}`);
    place();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("a[href^='#']")) event.preventDefault();
  });
  window.addEventListener("hashchange", place);
  place();
}

at("filter")?.addEventListener("input", filter);
if (token && at("may")) at("may").textContent = document.body.dataset.live ? "You may change the lab." : "You may fork the run.";
if (document.body.dataset.live) {
  follow();
  setInterval(tick, 500);
  window.addEventListener("hashchange", () => openDrawer(true));
  openDrawer(true);
}
if (document.body.dataset.moments) scrub();
