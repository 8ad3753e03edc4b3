// The pool, which is what this page is for: in words, as a gauge, over time, and step by step. And all other charts,
// which show the same stretch of time.

import { get, post } from "./api.js";
import { Chart } from "./chart.js";
import { byId, element, fact, keep, setText } from "./dom.js";
import { bytes, clock, counted, microseconds, short, span, visible, whole } from "./format.js";

const STEPS_MAX = 40; // in the list
const MINUTES_MAX = 61; // rows of the table
const SHORTEST_S = 60; // the least that the charts span
const TRIGGER_PERCENT = 80; // unless the broker says otherwise

const column = (name) => (history, index) => history.value(name, index);
const rate = (number) => short(number) + "/s";

export class Pool {
  constructor() {
    this.percent = TRIGGER_PERCENT;
    this.settings = null;
    this.seconds = Number(byId("range").querySelector(":checked").value);
    this.last = null; // what was shown last: [overview, history]
    const trigger = (history, index) => Math.floor((history.value("capacity", index) * this.percent) / 100);
    const pooled = (history, index) => history.value("active", index) - history.value("overflow", index);
    this.chart = new Chart(byId("chart-pool"), {
      title: "Connections", height: 280, axis: false, steers: true,
      series: [
        { label: "Active", kind: "area", className: "active", value: pooled, shown: column("active") },
        { label: "Overflow", kind: "above", className: "overflow", value: column("active"), shown: column("overflow") },
        { label: "Trigger", kind: "step", className: "trigger", value: trigger },
        { label: "Capacity", kind: "step", className: "capacity", value: column("capacity") },
        { label: "Idle", kind: "none", className: "idle", value: column("idle") },
      ],
    });
    const line = (label, name, className, kind = "line") => ({ label, kind, className, value: column(name) });
    this.charts = [
      this.chart,
      new Chart(byId("chart-memory"), { title: "Memory", height: 96, format: bytes, series: [line("Resident", "resident_bytes", "memory", "area")] }),
      new Chart(byId("chart-messages"), { title: "Messages", height: 150, format: rate, series: [line("In", "publishes_received", "first", "area"), line("Out", "publishes_sent", "second")] }),
      new Chart(byId("chart-bytes"), { title: "Bytes", height: 150, format: (number) => bytes(number) + "/s", series: [line("In", "bytes_received", "first", "area"), line("Out", "bytes_sent", "second")] }),
      new Chart(byId("chart-connects"), { title: "New connections", height: 150, format: rate, series: [line("Accepted", "connects", "first", "area")] }),
      new Chart(byId("chart-turns"), { title: "Turns of the loop", height: 150, format: microseconds, series: [line("Median", "turn_p50_us", "first", "area"), line("99 %", "turn_p99_us", "second"), line("Longest", "turn_longest_us", "third")] }),
    ];
    byId("range").addEventListener("change", (event) => {
      this.seconds = Number(event.target.value);
      if (this.last) this.show(...this.last);
    });
    byId("numbers").addEventListener("toggle", () => this.last && this.numbers(this.last[1]));
    byId("self-check").addEventListener("click", () => this.check());
  }

  show(overview, history) {
    this.last = [overview, history];
    if (this.settings === null) this.ask();
    const times = history.at;
    const to = times.length ? times[times.length - 1] : Date.now() / 1000;
    // A young history fills the charts, and is not squeezed into their right edge.
    const from = Math.max(to - this.seconds, Math.min(times[0] ?? to, to - SHORTEST_S));
    const view = { history, from, to };
    this.chart.draw({ ...view, events: history.events });
    for (const chart of this.charts.slice(1)) chart.draw(view);
    const { connections } = overview;
    this.figures(overview);
    this.gauge(connections);
    setText(byId("pool-words"), this.words(connections, history.events.filter((event) => event.at >= view.from)));
    this.steps(history.events);
    this.numbers(history);
  }

  async ask() {
    this.settings = {};
    try {
      const answer = await get("pool");
      this.settings = answer.settings ?? {};
    } catch {
      this.settings = null; // asked again with the next answer
      return;
    }
    const { threshold_percent: percent, initial_size: initial, max_size: most, factor, mode, shrink } = this.settings;
    this.percent = percent ?? TRIGGER_PERCENT;
    const facts = [["Mode", mode], ["Starts with", initial], ["At most", most], ["Grows by", factor], ["Trigger", `${this.percent} %`], ["Shrinks", shrink === undefined ? undefined : shrink ? "yes" : "no"]];
    const known = facts.filter(([, value]) => value !== undefined);
    byId("pool-facts").replaceChildren(...known.map(([term, value]) => fact(term, typeof value === "number" ? whole(value) : visible(value))));
  }

  figures({ connections, rates, memory, turn, sessions, subscriptions, retained }) {
    const { active, capacity, overflow, max_connections: most } = connections;
    const budget = memory.budget_bytes ? `of ${bytes(memory.budget_bytes)}` : "resident";
    const items = [
      ["Connections", whole(active), overflow ? `${whole(overflow)} past the pool` : `of ${short(most)} at most`],
      ["Pool in use", capacity ? `${Math.round(((active - overflow) / capacity) * 100)} %` : "–", `of ${whole(capacity)} objects`],
      ["Messages in", rate(rates.publishes_received), bytes(rates.bytes_received) + "/s"],
      ["Messages out", rate(rates.publishes_sent), bytes(rates.bytes_sent) + "/s"],
      ["Memory", bytes(memory.resident_bytes), budget],
      ["Turn, 99 %", microseconds(turn.p99_us), `longest ${microseconds(turn.longest_us)}`],
      ["Sessions", whole(sessions), counted(subscriptions, "subscription")],
      ["Retained", whole(retained), retained === 1 ? "message" : "messages"],
    ];
    keep(byId("figures"), items, ([label]) => label, ([label]) => {
      return element("div", {}, element("dt", {}, label), element("dd", { class: "value" }), element("dd", { class: "under" }));
    }, (item, [, value, under]) => {
      setText(item.children[1], value);
      setText(item.children[2], under);
    });
  }

  gauge({ active, capacity, overflow }) {
    const scale = Math.max(1, capacity, active);
    const [used, extra, trigger] = byId("gauge").children;
    const share = (number) => `${((number / scale) * 100).toFixed(2)}%`;
    used.style.width = share(active - overflow);
    extra.style.left = share(active - overflow);
    extra.style.width = share(overflow);
    trigger.style.left = share(Math.floor((capacity * this.percent) / 100));
    trigger.hidden = capacity === 0;
  }

  words({ active, capacity, idle, overflow, max_size: most }, events) {
    if (most === 0) return `${whole(active)} connections. The pool is off: every object is made on demand.`;
    const trigger = Math.floor((capacity * this.percent) / 100);
    const use = `${whole(active - overflow)} of ${whole(capacity)} preheated objects are in use, ${whole(idle)} wait. `;
    const steps = events.filter((event) => event.kind === "grew");
    const last = steps[steps.length - 1];
    const times = steps.length === 1 ? "once" : `${steps.length} times`;
    const story = last ? `It grew ${times} in the last ${span(this.seconds)}, last at ${clock(last.at)} to ${whole(last.to)}. ` : "";
    if (overflow) return `${use}${whole(overflow)} more were made on demand. ${story}`;
    if (capacity >= most) return `${use}${story}The pool is at its cap and does not grow further.`;
    return `${use}${story}It grows at ${whole(trigger)} active.`;
  }

  steps(events) {
    const newest = events.toReversed().slice(0, STEPS_MAX);
    if (newest.length === 0) return byId("steps").replaceChildren(element("li", { class: "hint", "data-key": "none" }, "None yet."));
    keep(byId("steps"), newest, (event) => `${event.at} ${event.kind} ${event.text}`, (event) => {
      const step = event.kind === "grew" || event.kind === "shrank";
      const words = step ? `${whole(event.from)} → ${whole(event.to)}` : visible(event.text);
      return element("li", { class: step ? "step" : "other", title: visible(event.text) }, element("time", {}, clock(event.at)), element("span", {}, words));
    }, () => {});
  }

  // The same as a table, for whoever can't see the charts, or wants to copy them.
  numbers(history) {
    if (!byId("numbers").open) return;
    const names = ["capacity", "active", "idle", "overflow", "resident_bytes", "connects", "publishes_received", "publishes_sent", "turn_p99_us", "turn_longest_us"];
    const heads = ["Time", "Capacity", "Active", "Idle", "Overflow", "Memory", "Connects/s", "Messages in/s", "Messages out/s", "Turn, 99 %", "Longest turn"];
    const formats = [whole, whole, whole, whole, bytes, whole, whole, whole, microseconds, microseconds];
    const rows = [];
    let minute = NaN;
    const to = history.at[history.at.length - 1];
    for (let index = history.at.length - 1; index >= 0 && rows.length < MINUTES_MAX && history.at[index] >= to - this.seconds; index--) {
      const this_minute = Math.floor(history.at[index] / 60);
      if (this_minute === minute) continue;
      minute = this_minute;
      const cells = names.map((name, at) => {
        const value = history.value(name, index);
        return element("td", { class: "number" }, Number.isNaN(value) ? "–" : formats[at](value));
      });
      rows.push(element("tr", {}, element("th", { scope: "row" }, clock(history.at[index])), ...cells));
    }
    const head = element("tr", {}, ...heads.map((text, at) => element("th", { scope: "col", class: at ? "number" : "" }, text)));
    byId("numbers-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  async check() {
    const answer = byId("self-check-answer");
    setText(answer, "Looking …");
    try {
      const { faults } = await post("pool/self-check");
      setText(answer, faults.length ? faults.map(visible).join(" ") : "Sound.");
    } catch (error) {
      setText(answer, visible(error.message));
    }
  }
}
