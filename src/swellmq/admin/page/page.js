// The page: asks the broker once a second, tells the panels, and says so when there is no answer.

import { ApiError, get, post, whenUnauthorized } from "./api.js";
import { Clients } from "./clients.js";
import { byId, element, keep, setText } from "./dom.js";
import { brokerClock, clock, moment, span, visible } from "./format.js";
import { History } from "./history.js";
import { Receipts, Talkers } from "./lists.js";
import { Pool } from "./pool.js";
import { Tail } from "./tail.js";
import { Topics } from "./topics.js";

const EVERY_MS = 1_000;
const RETRY_MS = [1_000, 2_000, 3_000, 5_000]; // after failures; the last one stays
const NEWS_MS = 20_000; // how long it is said that the broker is back
const RESTART_S = 2; // a broker whose uptime falls back by more is another process
const FINE_S = 600; // as far back there is a row for every second
const COARSE_S = 86_400; // and for every minute

const fine = new History(2, FINE_S);
const coarse = new History(FINE_S + 60, COARSE_S);
const pool = new Pool();
const tail = new Tail();
const panels = [new Clients(), new Talkers(), new Receipts(), new Topics(tail)];

let overview = null; // the last answer
let overviewAt = 0; // and when it came, in milliseconds that no clock setting moves
let failures = 0;
let failedAt = 0;
let coarseAt = 0; // when the history of minutes was asked for
let timer = 0;
let working = false;

async function look() {
  clearTimeout(timer);
  if (working || document.hidden) return; // it comes back when the page is seen again
  working = true;
  try {
    await ask();
    failures = 0;
  } catch (error) {
    if (error.status === 401) return; // the login goes on from here
    if (error instanceof ApiError) {
      if (failures++ === 0) failedAt = Date.now() / 1000;
      lost(error);
    } else {
      reportError(error); // a fault of this page, which goes on
    }
  } finally {
    working = false;
  }
  timer = setTimeout(look, failures ? RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] : EVERY_MS);
}

async function ask() {
  const now = Date.now() / 1000;
  const minutes = pool.seconds > FINE_S && (coarse.at.length === 0 || now - coarseAt >= 30);
  const [found, answer, answerMinutes] = await Promise.all([
    get("overview"),
    get("history", { seconds: fine.seconds() }),
    minutes ? get("history", { seconds: coarse.seconds() }) : null,
  ]);
  const passedS = (performance.now() - overviewAt) / 1000;
  const restarted = overview !== null && found.uptime_s + RESTART_S < overview.uptime_s + passedS;
  if (restarted) {
    // What was before belongs to another process; its end shows as a hole in the charts.
    await Promise.all(panels.map((panel) => panel.refresh()));
  }
  if (failures || restarted) back(restarted, found);
  brokerClock.set(moment(found.started_at) + found.uptime_s);
  overview = found;
  overviewAt = performance.now();
  fine.merge(answer);
  if (answerMinutes) {
    coarse.merge(answerMinutes);
    coarseAt = now;
  }
  document.body.classList.remove("stale");
  header();
  // While the broker is young, its minutes tell nothing that its seconds don't.
  const long = pool.seconds > FINE_S && coarse.at.length > 0 && coarse.at[0] < fine.at[0];
  pool.show(overview, long ? coarse.followedBy(fine) : fine);
  for (const panel of panels) panel.tick();
}

function header() {
  const { alarms, version, build, uptime_s: uptime } = overview;
  setText(byId("about"), `${version}, ${build} · up ${span(uptime)}`);
  const critical = alarms.some((alarm) => alarm.severity === "critical");
  health(alarms.length === 0 ? "well" : critical ? "critical" : "warning",
    alarms.length === 0 ? "Well" : alarms.length === 1 ? "1 alarm" : `${alarms.length} alarms`);
  keep(byId("alarms"), alarms, (alarm) => alarm.name, () => element("li", {}, element("strong"), element("span")), (item, alarm) => {
    item.dataset.severity = alarm.severity;
    setText(item.firstChild, visible(alarm.text));
    setText(item.lastChild, `since ${clock(moment(alarm.since))}`);
  });
}

function health(state, text) {
  byId("health").dataset.state = state;
  setText(byId("health-text"), text);
  document.title = state === "well" ? "swellmq" : `${text} · swellmq`;
}

function lost(error) {
  document.body.classList.add("stale");
  health("lost", "No answer");
  const reason = error.status ? ` (${visible(error.message)})` : "";
  notice(`No answer from the broker since ${clock(failedAt)}${reason}. What you see is from before. Trying again.`);
}

function back(restarted, found) {
  notice(restarted ? `The broker was started again at ${clock(moment(found.started_at))}.` : "The broker answers again.");
  setTimeout(() => failures || notice(""), NEWS_MS);
}

function notice(text) {
  setText(byId("notice"), text);
  byId("notice").hidden = text === "";
}

// Login

function login() {
  health("waiting", "Log in");
  localStorage.removeItem("loggedIn");
  byId("logout").hidden = true;
  if (byId("login").open) return;
  byId("login").showModal();
  byId("login-password").focus();
}

byId("login").addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  setText(byId("login-error"), "");
  try {
    await post("login", { token: byId("login-password").value });
  } catch (error) {
    setText(byId("login-error"), visible(error.message));
    byId("login-password").select();
    return;
  }
  localStorage.setItem("loggedIn", "yes"); // the cookie itself no script can see
  byId("login-password").value = "";
  byId("login").close();
  byId("logout").hidden = false;
  for (const panel of panels) panel.refresh();
  look();
});

byId("logout").addEventListener("click", async () => {
  await post("logout").catch(() => {});
  localStorage.removeItem("loggedIn");
  location.reload();
});

whenUnauthorized(login);
byId("logout").hidden = localStorage.getItem("loggedIn") === null;

// Light and dark: as the system says, until somebody chooses.

const THEMES = ["auto", "light", "dark"];

function theme(name) {
  document.documentElement.dataset.theme = name;
  setText(byId("theme"), { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[name]);
  byId("theme").setAttribute("aria-label", `Colours: ${name}. Change`);
}

byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  theme(next);
});
theme(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");

document.addEventListener("visibilitychange", look);
byId("range").addEventListener("change", look);
look();
