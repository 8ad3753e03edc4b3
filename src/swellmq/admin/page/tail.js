// Live messages of a topic filter, through MQTT over WebSocket, and publishing one.

import { post } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { bytes, clock, counted, payload, short, visible, whole } from "./format.js";
import { Listener } from "./mqtt.js";

const LINES_MAX = 300;
const PENDING_MAX = 100; // messages that wait to be drawn; of more only the newest are, and the others are counted
const DRAW_MS = 150;
const RETRY_MS = 2_000;
const BAD_ACCOUNT = [0x86, 0x87];
const FINAL = [...BAD_ACCOUNT, 0x81, 0x82, 0x8f, 0xa2]; // trying again changes nothing

export class Tail {
  constructor() {
    this.listener = null;
    this.paused = false;
    this.wanted = ""; // the filter; "": none
    this.retry = 0;
    this.count = 0; // messages of the second under way
    this.clear();
    byId("tail-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.wanted) this.stop("Not listening");
      else this.listen(byId("tail-filter").value);
    });
    byId("tail-pause").addEventListener("click", () => this.pause(!this.paused));
    byId("tail-clear").addEventListener("click", () => this.clear());
    byId("publish").addEventListener("submit", (event) => {
      event.preventDefault();
      this.publish();
    });
    setInterval(() => this.draw(), DRAW_MS);
    setInterval(() => this.rate(), 1_000);
    window.addEventListener("pagehide", () => this.listener?.close());
  }

  listen(filter) {
    this.stop("");
    this.wanted = filter;
    byId("tail-filter").value = filter;
    setText(byId("tail-start"), "Stop");
    byId("tail-pause").disabled = false;
    this.pause(false);
    this.connect();
  }

  connect() {
    setText(byId("tail-state"), "Connecting …");
    const url = new URL("mqtt", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const account = { username: byId("tail-username").value, password: byId("tail-password").value };
    this.listener = new Listener(url, this.wanted, account, {
      live: () => setText(byId("tail-state"), "Listening"),
      message: (message) => this.take(message),
      end: (reason, code) => this.ended(reason, code),
    });
  }

  ended(reason, code) {
    this.listener = null;
    if (BAD_ACCOUNT.includes(code)) byId("tail-account").open = true;
    if (FINAL.includes(code)) return this.stop(`Not listening: ${visible(reason)}`);
    setText(byId("tail-state"), `Waiting: ${visible(reason)}`);
    this.retry = setTimeout(() => this.connect(), RETRY_MS);
  }

  stop(state) {
    clearTimeout(this.retry);
    this.listener?.close();
    this.listener = null;
    this.wanted = "";
    setText(byId("tail-state"), state);
    setText(byId("tail-start"), "Listen");
    byId("tail-pause").disabled = true;
    this.pause(false);
  }

  pause(paused) {
    this.paused = paused;
    byId("tail-pause").setAttribute("aria-pressed", String(paused));
    setText(byId("tail-pause"), paused ? "Go on" : "Pause");
  }

  clear() {
    this.pending = [];
    this.skipped = 0;
    byId("tail").replaceChildren();
  }

  take(message) {
    this.count++;
    if (this.paused) {
      this.skipped++;
      return;
    }
    this.pending.push({ at: Date.now() / 1000, ...message });
    if (this.pending.length > PENDING_MAX) {
      this.pending.shift();
      this.skipped++;
    }
  }

  rate() {
    setText(byId("tail-rate"), this.count > 1 ? `${short(this.count)}/s` : "");
    this.count = 0;
  }

  draw() {
    if (this.paused || this.pending.length === 0 || document.hidden) return;
    const list = byId("tail");
    const box = list.parentElement;
    const following = box.scrollTop + box.clientHeight >= box.scrollHeight - 8; // else somebody reads further up
    if (this.skipped) list.append(element("li", { class: "hint" }, `${whole(this.skipped)} not shown`));
    list.append(...this.pending.map(line));
    this.pending = [];
    this.skipped = 0;
    while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
    if (following) box.scrollTop = box.scrollHeight;
  }

  async publish() {
    const answer = byId("publish-answer");
    const body = {
      topic: byId("publish-topic").value,
      payload: byId("publish-payload").value,
      qos: Number(byId("publish-qos").value),
      retain: byId("publish-retain").checked,
    };
    try {
      const { matched } = await post("publish", body);
      setText(answer, `Published at ${clock(Date.now() / 1000)} to ${counted(matched, "subscription")}.`);
    } catch (error) {
      setText(answer, visible(error.message));
    }
  }
}

function line({ at, topic, retain, properties, payload: data }) {
  const { text, kind } = payload(data);
  const about = [retain ? "retained" : "", bytes(data.length), ...properties.map(([name, value]) => `${visible(name)}: ${value instanceof Uint8Array ? payload(value).text : visible(value)}`)];
  return element("li", {},
    element("time", {}, clock(at)), element("span", { class: "id" }, visible(topic)),
    element("span", { class: "aside" }, about.filter(Boolean).join(" · ")),
    element("span", { class: "payload " + kind }, text));
}
