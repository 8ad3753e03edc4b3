// As much of an MQTT 5.0 client as listening needs: CONNECT, SUBSCRIBE at QoS 0, PUBLISH coming in, PINGREQ, DISCONNECT.
//
// Packets are decoded from a stream: a frame of WebSocket may hold several of them, or part of one. All that is wrong
// with them closes the connection.

const CONNECT = 1;
const CONNACK = 2;
const PUBLISH = 3;
const SUBSCRIBE = 8;
const SUBACK = 9;
const PINGREQ = 12;
const DISCONNECT = 14;
const KEEP_ALIVE_S = 30;
const PACKET_MAX = 1_048_576; // bytes; the broker keeps larger ones from us
const PACKET_IDENTIFIER = 1;

const NORMAL = 0;
const USER_PROPERTY = 0x26;
const REASON_STRING = "Reason String";
const PROPERTIES = {
  0x01: ["byte", "Payload Format Indicator"],
  0x02: ["four", "Message Expiry Interval"],
  0x03: ["text", "Content Type"],
  0x08: ["text", "Response Topic"],
  0x09: ["data", "Correlation Data"],
  0x0b: ["variable", "Subscription Identifier"],
  0x11: ["four", "Session Expiry Interval"],
  0x12: ["text", "Assigned Client Identifier"],
  0x13: ["two", "Server Keep Alive"],
  0x15: ["text", "Authentication Method"],
  0x16: ["data", "Authentication Data"],
  0x1a: ["text", "Response Information"],
  0x1c: ["text", "Server Reference"],
  0x1f: ["text", REASON_STRING],
  0x21: ["two", "Receive Maximum"],
  0x22: ["two", "Topic Alias Maximum"],
  0x23: ["two", "Topic Alias"],
  0x24: ["byte", "Maximum QoS"],
  0x25: ["byte", "Retain Available"],
  0x27: ["four", "Maximum Packet Size"],
  0x28: ["byte", "Wildcard Subscription Available"],
  0x29: ["byte", "Subscription Identifier Available"],
  0x2a: ["byte", "Shared Subscription Available"],
};

// Reason codes that a listener can meet.
const WORDS = {
  0x00: "the broker has ended it",
  0x81: "this is no valid topic filter",
  0x82: "the broker found a mistake in the protocol",
  0x84: "the broker does not speak MQTT 5.0",
  0x85: "the client identifier is not accepted",
  0x86: "user name or password is wrong",
  0x87: "not authorized",
  0x88: "the broker is not available",
  0x89: "the broker is busy",
  0x8a: "banned",
  0x8b: "the broker is shutting down",
  0x8e: "another client has this identifier",
  0x8f: "this is no valid topic filter",
  0x97: "a quota is used up",
  0x98: "an administrator closed the connection",
  0x9f: "connecting too often",
  0xa2: "wildcards are not allowed here",
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export class Listener {
  // Listens at `url` until `close`; a lost connection is over. `on`: {live(), message(publish), end(reason, code)}.
  constructor(url, filter, { username = "", password = "" }, on) {
    this.filter = filter;
    this.on = on;
    this.rest = new Uint8Array(0);
    this.ended = false;
    this.socket = new WebSocket(url, "mqtt");
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("open", () => this.send(connect(username, password)));
    this.socket.addEventListener("message", (event) => this.receive(new Uint8Array(event.data)));
    this.socket.addEventListener("close", () => this.end("the connection is gone", 0));
    this.timer = setInterval(() => this.send(packet(PINGREQ << 4)), (KEEP_ALIVE_S * 1000) / 2);
  }

  close() {
    this.ended = true; // nobody wants to hear of it
    this.send(packet(DISCONNECT << 4));
    this.stop();
  }

  stop() {
    clearInterval(this.timer);
    this.socket.close();
  }

  end(reason, code) {
    if (this.ended) return;
    this.ended = true;
    this.stop();
    this.on.end(reason, code);
  }

  send(bytes) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(bytes);
  }

  receive(bytes) {
    this.rest = this.rest.length ? join([this.rest, bytes]) : bytes;
    try {
      for (let size = packetSize(this.rest); size && size <= this.rest.length && !this.ended; size = packetSize(this.rest)) {
        this.handle(new Reader(this.rest.subarray(0, size)));
        this.rest = this.rest.subarray(size);
      }
    } catch (error) {
      if (!(error instanceof RangeError) && !(error instanceof TypeError)) throw error;
      this.end("what came is not MQTT", 0x81); // read past its end, or not UTF-8
    }
  }

  handle(reader) {
    const first = reader.byte();
    reader.variable();
    switch (first >> 4) {
      case CONNACK: {
        reader.byte();
        const code = reader.byte();
        return code ? this.refused(code, reader) : this.send(subscribe(this.filter));
      }
      case SUBACK: {
        reader.two();
        const answer = reader.properties();
        const code = reader.byte();
        return code >= 0x80 ? this.end(reason(code, answer), code) : this.on.live();
      }
      case PUBLISH: {
        const topic = reader.text();
        const properties = reader.properties();
        const payload = reader.take(reader.left).slice(); // not a view of all that came with it
        return this.on.message({ topic, payload, retain: (first & 1) === 1, properties });
      }
      case DISCONNECT:
        return this.refused(reader.left ? reader.byte() : NORMAL, reader);
    }
  }

  refused(code, reader) {
    this.end(reason(code, reader.left ? reader.properties() : []), code);
  }
}

// The broker's own words, else ours.
function reason(code, properties) {
  const told = properties.find(([name]) => name === REASON_STRING);
  return told ? told[1] : WORDS[code] ?? "reason code 0x" + code.toString(16);
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(count) {
    if (count > this.left) throw new RangeError("read past the end");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  byte() {
    return this.take(1)[0];
  }

  two() {
    return this.byte() * 256 + this.byte();
  }

  four() {
    return this.two() * 65_536 + this.two();
  }

  variable() {
    let value = 0;
    for (let shift = 1; shift <= 128 ** 3; shift *= 128) {
      const byte = this.byte();
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
    throw new RangeError("a length of more than four bytes");
  }

  data() {
    return this.take(this.two());
  }

  text() {
    return decoder.decode(this.data());
  }

  // [[name, value], ...]
  properties() {
    const size = this.variable();
    const inside = new Reader(this.take(size));
    const found = [];
    while (inside.left) {
      const identifier = inside.variable();
      if (identifier === USER_PROPERTY) found.push([inside.text(), inside.text()]);
      else if (identifier in PROPERTIES) found.push([PROPERTIES[identifier][1], inside[PROPERTIES[identifier][0]]()]);
      else throw new RangeError("there is no such property");
    }
    return found;
  }
}

// The size of the packet that begins here; 0: too few bytes to know.
function packetSize(bytes) {
  let value = 0;
  for (let at = 1; at <= 4; at++) {
    if (at >= bytes.length) return 0;
    value += (bytes[at] & 127) * 128 ** (at - 1);
    if (bytes[at] < 128) return 1 + at + value;
  }
  throw new RangeError("a length of more than four bytes");
}

function join(parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

const two = (number) => Uint8Array.of(number >> 8, number & 255);
const four = (number) => join([two(number >>> 16), two(number & 0xffff)]);
const text = (string) => data(encoder.encode(string));
const data = (bytes) => join([two(bytes.length), bytes]);

function packet(first, ...parts) {
  const body = join(parts);
  const size = [];
  let rest = body.length;
  do {
    size.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>= 7;
  } while (rest);
  return join([Uint8Array.of(first, ...size), body]);
}

function connect(username, password) {
  const flags = 0x02 | (username ? 0x80 : 0) | (password ? 0x40 : 0); // Clean Start
  const properties = join([Uint8Array.of(0x27), four(PACKET_MAX)]); // Maximum Packet Size
  const name = "page-" + Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return packet(CONNECT << 4, text("MQTT"), Uint8Array.of(5, flags), two(KEEP_ALIVE_S), Uint8Array.of(properties.length),
    properties, text(name), ...(username ? [text(username)] : []), ...(password ? [text(password)] : []));
}

function subscribe(filter) {
  const retainAsPublished = 0x08;
  return packet((SUBSCRIBE << 4) | 2, two(PACKET_IDENTIFIER), Uint8Array.of(0), text(filter), Uint8Array.of(retainAsPublished));
}
