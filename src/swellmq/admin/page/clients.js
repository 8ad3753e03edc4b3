// The clients: a table with search and pages, one client in full, and the kick.

import { get, part, post, remove } from "./api.js";
import { byId, element, fact, keep, setText } from "./dom.js";
import { brokerClock, bytes, clock, moment, span, visible, whole } from "./format.js";

const PAGE_SIZE = 20;
const EVERY = 5; // ticks
const SEARCH_DELAY_MS = 200;
const SUBSCRIPTIONS_MAX = 200;
const TRACE_MINUTES = 5;

export class Clients {
  constructor() {
    this.pages = [""]; // the key after which each page begins; the last one is shown
    this.next = null;
    this.ticks = 0;
    this.asked = 0; // numbers the questions: an answer that was overtaken is dropped
    this.client = null; // the one that is shown in full
    this.tracing = false; // the one that is shown
    this.kicking = null;
    let waiting = 0;
    byId("search").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.turn([""]), SEARCH_DELAY_MS);
    });
    byId("clients-search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.turn([""]);
    });
    byId("clients-next").addEventListener("click", () => this.turn([...this.pages, this.next]));
    byId("clients-back").addEventListener("click", () => this.turn(this.pages.slice(0, -1)));
    byId("kick-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.kick();
    });
    byId("kick-cancel").addEventListener("click", () => byId("kick").close());
    byId("client-close").addEventListener("click", () => byId("client").close());
    byId("client").addEventListener("close", () => {
      this.client = null;
      this.tracing = false;
    });
    byId("trace-start").addEventListener("click", () => this.trace(true));
    byId("trace-stop").addEventListener("click", () => this.trace(false));
  }

  tick() {
    if (this.tracing) this.readTrace();
    if (this.ticks++ % EVERY === 0) this.refresh();
  }

  turn(pages) {
    this.pages = pages;
    return this.refresh();
  }

  async refresh() {
    const number = ++this.asked;
    const search = byId("search").value.trim();
    let answer;
    try {
      answer = await get("clients", { limit: PAGE_SIZE, after: this.pages[this.pages.length - 1], search });
    } catch (error) {
      if (number === this.asked) setText(byId("clients-count"), visible(error.message));
      return;
    }
    if (number !== this.asked) return;
    if (answer.items.length === 0 && this.pages.length > 1) return this.turn([""]); // they have gone
    this.next = answer.next;
    byId("clients-next").disabled = !answer.next;
    byId("clients-back").disabled = this.pages.length === 1;
    const first = (this.pages.length - 1) * PAGE_SIZE + 1;
    const shown = answer.items.length;
    setText(byId("clients-count"), shown ? `${whole(first)} to ${whole(first + shown - 1)}` : search ? "Nobody of that name is connected." : "Nobody is connected.");
    keep(byId("clients"), answer.items, (client) => client.client_id, (client) => this.row(client), update);
  }

  row({ client_id: id }) {
    const name = visible(id) || "(empty)";
    const cells = ["wide-1", "wide-1", "wide-2", "wide-2 number", "wide-3 number", "wide-2 number", "wide-3 number", "wide-2 number"];
    return element("tr", {},
      element("th", { scope: "row" }, element("button", { type: "button", class: "link id", click: () => this.open(id) }, name), element("span", { class: "narrow" })),
      ...cells.map((kind) => element("td", { class: kind })),
      element("td", { class: "number" }, element("button", { type: "button", "aria-label": `Kick ${name}`, click: () => this.confirm(id) }, "Kick")));
  }

  confirm(id) {
    this.kicking = id;
    setText(byId("kick-client"), visible(id));
    setText(byId("kick-error"), "");
    byId("kick-session").checked = false;
    byId("kick").showModal();
    byId("kick-cancel").focus();
  }

  async kick() {
    try {
      await remove("clients/" + part(this.kicking), { session: byId("kick-session").checked ? "true" : undefined });
    } catch (error) {
      if (error.status !== 404) return setText(byId("kick-error"), visible(error.message)); // 404: it has gone already
    }
    byId("kick").close();
    await this.refresh();
  }

  async open(id) {
    this.client = id;
    setText(byId("client-title"), visible(id));
    for (const name of ["client-facts", "client-subscriptions", "trace"]) byId(name).replaceChildren();
    for (const name of ["client-error", "trace-state"]) setText(byId(name), "");
    byId("client").showModal();
    try {
      const [client, subscriptions] = await Promise.all([
        get("clients/" + part(id)),
        get(`clients/${part(id)}/subscriptions`, { limit: SUBSCRIPTIONS_MAX }),
      ]);
      if (this.client !== id) return;
      byId("client-facts").replaceChildren(...facts(client));
      const items = subscriptions.items.map(({ topic_filter: filter, qos }) => {
        return element("li", {}, element("span", { class: "id" }, visible(filter)), element("span", { class: "aside" }, ` QoS ${qos}`));
      });
      if (subscriptions.next) items.push(element("li", { class: "hint" }, "and more"));
      byId("client-subscriptions").replaceChildren(...(items.length ? items : [element("li", { class: "hint" }, "None.")]));
    } catch (error) {
      setText(byId("client-error"), visible(error.message));
    }
  }

  async trace(start) {
    const path = "traces/" + part(this.client);
    try {
      await (start ? post(path, { minutes: TRACE_MINUTES }) : post(path + "/stop"));
      this.tracing = start;
      setText(byId("trace-state"), start ? `Packets are shown here for ${TRACE_MINUTES} minutes.` : "Stopped.");
    } catch (error) {
      setText(byId("trace-state"), visible(error.message));
    }
  }

  async readTrace() {
    const id = this.client;
    const { items } = await get("traces/" + part(id)).catch(() => ({ items: [] }));
    if (this.client !== id || items.length === 0) return;
    const box = byId("trace").parentElement;
    const following = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
    byId("trace").replaceChildren(...items.map((line) => element("li", {}, traceLine(line))));
    if (following) box.scrollTop = box.scrollHeight;
  }
}

function traceLine({ at, direction, text }) {
  return `${clock(moment(at))} ${direction} ${visible(text)}`;
}

const since = (at) => span(brokerClock.now() - moment(at));

function update(row, client) {
  const texts = [visible(client.username ?? "–"), visible(client.address), client.protocol_version, since(client.connected_at),
    whole(client.subscriptions), whole(client.queued), whole(client.inflight), bytes(client.bytes)];
  texts.forEach((text, at) => setText(row.children[at + 1], text));
  setText(row.querySelector(".narrow"), [client.username && visible(client.username), visible(client.address)].filter(Boolean).join(" · "));
}

// All that is known of a client and can be said in a word.
function facts(client) {
  const told = ([name, value]) => name !== "client_id" && (value === null || typeof value !== "object");
  return Object.entries(client).filter(told).map(([name, value]) => {
    const label = name.replace(/_(s|bytes)$/, "").replaceAll("_", " ");
    return fact(label.charAt(0).toUpperCase() + label.slice(1), factText(name, value));
  });
}

function factText(name, value) {
  if (value === null || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (name.endsWith("_at")) return `${clock(moment(value))} (${since(value)} ago)`;
  if (typeof value !== "number") return visible(value);
  if (name.endsWith("_s")) return span(value);
  if (name.endsWith("bytes")) return bytes(value);
  return whole(value);
}
