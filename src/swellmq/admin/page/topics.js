// The tree of topics, a level at a time, as the tree that screen readers and arrow keys know.

import { get, part } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { counted, payload, visible, whole } from "./format.js";

const LIMIT = 100;

export class Topics {
  // `tail` listens to what is chosen here.
  constructor(tail) {
    this.tail = tail;
    this.tree = byId("topics");
    this.asked = false;
    byId("topics-refresh").addEventListener("click", () => this.refresh());
    this.tree.addEventListener("keydown", (event) => this.key(event));
    this.tree.addEventListener("click", (event) => {
      const node = event.target.closest("[role=treeitem]");
      if (!node) return;
      this.focus(node);
      if (node.hasAttribute("aria-expanded")) this.toggle(node);
      else this.choose(node);
    });
  }

  tick() {
    if (!this.asked) this.refresh(); // later only on request: nothing moves under the reader's eyes
  }

  async refresh() {
    this.asked = true;
    const open = [...this.tree.querySelectorAll("[aria-expanded=true]")].map((node) => node.dataset.topic);
    if (!(await this.load(this.tree, undefined))) this.asked = this.tree.childElementCount > 0;
    for (const topic of open) {
      // Parents come before their children, so each is there when its turn comes.
      const node = [...this.tree.querySelectorAll("[aria-expanded=false]")].find((one) => one.dataset.topic === topic);
      if (node) await this.toggle(node);
    }
  }

  // Fill a list with one level of the tree; whether there was an answer.
  async load(list, prefix, after) {
    let answer;
    try {
      answer = await get("topics/tree", { prefix, limit: LIMIT, after });
    } catch (error) {
      setText(byId("topics-hint"), visible(error.message));
      return false;
    }
    setText(byId("topics-hint"), answer.items.length || prefix !== undefined ? "" : "No topics yet.");
    const items = answer.items.map((item) => this.item(item));
    if (answer.next) {
      const more = element("li", { role: "none" }, element("button", { type: "button", click: () => more.remove() || this.load(list, prefix, answer.next) }, "More"));
      items.push(more);
    }
    if (after === undefined) list.replaceChildren(...items);
    else list.append(...items);
    if (!this.tree.querySelector("[tabindex='0']")) this.tree.querySelector("[role=treeitem]")?.setAttribute("tabindex", "0");
    return true;
  }

  // An item of the list: the line that has the focus, and the list for the level below it.
  item({ name, topic, children, topics, subscriptions, retained }) {
    const counts = [];
    if (children) counts.push(topics ? counted(topics, "topic") : counted(children, "level"));
    if (subscriptions) counts.push(`${whole(subscriptions)} subscribed`);
    if (retained) counts.push("retained");
    const node = element("div", {
      class: "node", role: "treeitem", tabindex: "-1", "data-topic": topic, "aria-selected": "false", "aria-expanded": children ? "false" : null,
    }, element("span", { class: "id" }, visible(name) || "(empty level)"), " ", element("span", { class: "aside" }, counts.join(" · ")));
    // For the mouse; with the keyboard it is the key L.
    const listen = element("button", { type: "button", class: "quiet listen", tabindex: "-1", "aria-hidden": "true", title: "Listen to these messages", click: () => this.listen(node) }, "Listen");
    return element("li", { role: "none" }, element("div", { class: "branch" }, node, listen), element("ul", { role: "group" }));
  }

  async toggle(node, open = node.getAttribute("aria-expanded") === "false") {
    node.setAttribute("aria-expanded", String(open));
    const group = node.closest("li").lastElementChild;
    if (open) await this.load(group, node.dataset.topic);
    else group.replaceChildren();
  }

  listen(node) {
    const topic = node.dataset.topic;
    this.tail.listen(node.hasAttribute("aria-expanded") ? topic + "/#" : topic);
  }

  // Show what is retained on a topic.
  async choose(node) {
    for (const other of this.tree.querySelectorAll("[aria-selected=true]")) other.setAttribute("aria-selected", "false");
    node.setAttribute("aria-selected", "true");
    const place = byId("retained");
    const topic = node.dataset.topic;
    const head = element("p", {}, element("strong", { class: "id" }, visible(topic)));
    try {
      const found = await get("retained/" + part(topic));
      const data = found.payload === undefined || found.payload === null
        ? Uint8Array.from(atob(found.payload_base64), (letter) => letter.charCodeAt(0))
        : new TextEncoder().encode(found.payload);
      const { text, kind } = payload(data, found.payload_bytes);
      place.replaceChildren(head, element("p", { class: "payload " + kind }, text));
    } catch (error) {
      place.replaceChildren(head, element("p", { class: "hint" }, error.status === 404 ? "Nothing is retained here." : visible(error.message)));
    }
  }

  focus(node) {
    for (const other of this.tree.querySelectorAll("[tabindex='0'][role=treeitem]")) other.tabIndex = -1;
    node.tabIndex = 0;
    node.focus();
  }

  async key(event) {
    const node = event.target.closest("[role=treeitem]");
    if (!node || event.altKey || event.ctrlKey || event.metaKey) return;
    const nodes = [...this.tree.querySelectorAll("[role=treeitem]")];
    const at = nodes.indexOf(node);
    const expanded = node.getAttribute("aria-expanded");
    const actions = {
      ArrowDown: () => nodes[at + 1] && this.focus(nodes[at + 1]),
      ArrowUp: () => nodes[at - 1] && this.focus(nodes[at - 1]),
      Home: () => this.focus(nodes[0]),
      End: () => this.focus(nodes[nodes.length - 1]),
      ArrowRight: () => (expanded === "false" ? this.toggle(node, true) : expanded && nodes[at + 1] && this.focus(nodes[at + 1])),
      ArrowLeft: () => {
        const parent = node.closest("ul").closest("li")?.querySelector("[role=treeitem]");
        if (expanded === "true") this.toggle(node, false);
        else if (parent) this.focus(parent);
      },
      Enter: () => (expanded === null ? this.choose(node) : this.toggle(node)),
      " ": () => this.choose(node),
      l: () => this.listen(node),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }
}
