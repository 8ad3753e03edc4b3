// Lists with bars: who talks most, and who costs how much memory.

import { get } from "./api.js";
import { byId, element, keep, setText } from "./dom.js";
import { bytes, clock, moment, short, visible, whole } from "./format.js";

const LIMIT = 6;
const EVERY = 5; // ticks
const KINDS = { clients: "Clients", sessions: "Sessions", topics: "Topics", retained: "Retained" };

// Rows of {name, text, size}: a bar as long as the size, beside the largest one.
function bars(list, rows, empty) {
  if (rows.length === 0) return list.replaceChildren(element("li", { class: "hint", "data-key": "\n" }, empty));
  const largest = Math.max(...rows.map((row) => row.size), 1e-9);
  keep(list, rows, (row) => row.name, ({ name }) => {
    return element("li", {}, element("span", { class: "id" }, visible(name) || "(empty)"), element("span", { class: "number" }), element("i", { "aria-hidden": "true" }));
  }, (item, row) => {
    setText(item.children[1], row.text);
    item.children[2].style.width = `${((row.size / largest) * 100).toFixed(1)}%`;
  });
}

export class Talkers {
  constructor() {
    this.ticks = 0;
  }

  tick() {
    if (this.ticks++ % EVERY === 0) this.refresh();
  }

  async refresh() {
    const answer = await get("talkers", { limit: LIMIT }).catch(() => null);
    if (answer === null) return; // the next tick asks again
    setText(byId("talkers-window"), `last ${whole(answer.window_s)} s`);
    const rows = (items) => items.map((item) => {
      return { name: item.client_id, size: item.messages_per_s, text: `${short(item.messages_per_s)}/s · ${bytes(item.bytes_per_s)}/s` };
    });
    bars(byId("publishers"), rows(answer.publishers), "Nobody publishes.");
    bars(byId("subscribers"), rows(answer.subscribers), "Nobody receives.");
  }
}

export class Receipts {
  constructor() {
    this.ticks = 0;
    this.kind = "clients";
    this.answer = null;
    for (const [kind, label] of Object.entries(KINDS)) {
      const input = element("input", { type: "radio", name: "receipts", value: kind, checked: kind === this.kind });
      byId("receipts-kind").append(element("label", {}, input, element("span", {}, label)));
    }
    byId("receipts-kind").addEventListener("change", (event) => {
      this.kind = event.target.value;
      this.show();
    });
  }

  tick() {
    if (this.ticks++ % EVERY === 0 || this.answer?.at === null) this.refresh(); // null: the first count is under way
  }

  async refresh() {
    this.answer = await get("receipts", { limit: LIMIT }).catch(() => this.answer);
    this.show();
  }

  show() {
    const found = this.answer?.kinds.find(({ kind }) => kind === this.kind);
    if (!found || this.answer.at === null) return;
    setText(byId("receipts-total"), `${whole(found.count)} take ${bytes(found.total_bytes)} · ${clock(moment(this.answer.at))}`);
    bars(byId("receipts"), found.items.map((item) => ({ name: item.name, size: item.bytes, text: bytes(item.bytes) })), "None.");
  }
}
