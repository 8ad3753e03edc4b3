// MQTT.js under remote control: a command for each line of the input, an event for each line of the output, both JSON.
//
// In:  {"client": a number of the caller's choice, "call": a number too, "do": a name of `commands`, "with": arguments}
// Out: {"client", "event": one of EVENTS, "value"}; and for each call {"call", "value"}, or {"call", "error"}.
"use strict";

const readline = require("node:readline");
const mqtt = require("mqtt");

const EVENTS = ["connect", "disconnect", "close", "error", "packetsend", "packetreceive"];
const clients = new Map();

function tell(line) {
  const bytesAsText = (_name, value) => (value?.type === "Buffer" ? Buffer.from(value.data).toString() : value);
  process.stdout.write(JSON.stringify(line, bytesAsText) + "\n");
}

function problem(error) {
  return { code: error.code ?? null, message: error.message };
}

const commands = {
  connect(client, options) {
    const made = mqtt.connect(options);
    clients.set(client, made);
    for (const event of EVENTS) {
      made.on(event, (value) => tell({ client, event, value: value instanceof Error ? problem(value) : value }));
    }
    // The topic may be one that MQTT.js found by its alias; the packet has the one that was sent.
    made.on("message", (topic, _payload, packet) => tell({ client, event: "message", value: { ...packet, topic } }));
  },
  subscribe: (client, filter, options) => clients.get(client).subscribeAsync(filter, options),
  unsubscribe: (client, filter) => clients.get(client).unsubscribeAsync(filter),
  publish: (client, topic, payload, options) => clients.get(client).publishAsync(topic, payload, options),
  end: (client, options) => clients.get(client).endAsync(false, options),
  cut: (client) => clients.get(client).stream.destroy(),
};

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { client, call, do: name, with: given } = JSON.parse(line);
  try {
    tell({ call, value: (await commands[name](client, ...given)) ?? null });
  } catch (error) {
    tell({ call, error: problem(error) });
  }
}).on("close", () => process.exit()); // the caller has ended
