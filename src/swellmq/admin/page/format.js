// Numbers, times and foreign text as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const whole = (number) => WHOLE.format(number);

// 1 topic, 2 topics.
export const counted = (number, word) => `${whole(number)} ${word}${number === 1 ? "" : "s"}`;

// Three digits and a unit: 812, 9.1 k, 3.4 M.
export function short(number) {
  if (Math.abs(number) < 10_000) return number > 0 && number < 10 ? FINE.format(number) : WHOLE.format(number);
  for (const [unit, size] of [["G", 1e9], ["M", 1e6]]) {
    if (Math.abs(number) >= size * 0.9995) return scaled(number / size) + " " + unit;
  }
  return scaled(number / 1e3) + " k";
}

const scaled = (number) => (Math.abs(number) < 99.95 ? FINE : WHOLE).format(number);

export function bytes(number) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) {
    if (number >= size * 0.9995) return scaled(number / size) + " " + unit;
  }
  return WHOLE.format(number) + " B";
}

export function microseconds(number) {
  if (number >= 999_500) return scaled(number / 1e6) + " s";
  if (number >= 999.5) return scaled(number / 1e3) + " ms";
  return WHOLE.format(number) + " µs";
}

// A span of time in its two largest units: 3 h 12 min.
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  for (let at = 0; at < parts.length; at++) {
    const [unit, size] = parts[at];
    if (whole < size && size > 1) continue;
    const text = `${Math.floor(whole / size)} ${unit}`;
    const rest = parts[at + 1] && Math.floor((whole % size) / parts[at + 1][1]);
    return rest ? `${text} ${rest} ${parts[at + 1][0]}` : text;
  }
  return "0 s";
}

// The broker's clock, which may differ from the one here.
export const brokerClock = {
  ahead: 0, // seconds
  set(now) {
    brokerClock.ahead = now - Date.now() / 1000;
  },
  now: () => Date.now() / 1000 + brokerClock.ahead,
};

// Seconds since 1970, of a time of the API: a number of them, or RFC 3339.
export const moment = (time) => (typeof time === "string" ? Date.parse(time) / 1000 : time);

const two = (number) => String(number).padStart(2, "0");

// The time of day here, of seconds since 1970.
export function clock(at, seconds = true) {
  const date = new Date(at * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}` + (seconds ? ":" + two(date.getSeconds()) : "");
}

// What strangers named: characters that do not show, or that turn the text around them, are spelled out.
export function visible(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (found) => {
    return "\\u{" + found.codePointAt(0).toString(16) + "}";
  });
}

const TEXT_MAX = 1_000; // characters of a payload that are shown
const BYTES_MAX = 256; // and bytes, where it is not text

// A payload as a line to read: text where it is UTF-8 without control characters, else its bytes in hexadecimal. `data`
// may be its beginning only.
export function payload(data, size = data.length) {
  if (data.length === 0) return { text: "empty", kind: "empty" };
  const part = data.length > TEXT_MAX * 4 ? data.subarray(0, TEXT_MAX * 4) : data;
  try {
    // Cut in the middle of a character, the rest of it is waited for, not an error.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(part, { stream: part.length < size });
    if (!/[\p{Cc}\p{Cs}]/u.test(text.replace(/[\t\n\r]/g, ""))) {
      const shown = text.length > TEXT_MAX ? text.slice(0, TEXT_MAX) : text;
      const cut = shown.length < text.length || part.length < size;
      return { text: visibleLines(shown) + (cut ? ` … ${whole(size)} bytes in all` : ""), kind: "text" };
    }
  } catch {
    // not UTF-8
  }
  const digits = Array.from(data.subarray(0, BYTES_MAX), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return { text: digits + (size > BYTES_MAX ? ` … ${whole(size)} bytes in all` : ""), kind: "bytes" };
}

const visibleLines = (text) => text.split(/(\r\n|[\t\n\r])/).map((part, at) => (at % 2 ? part : visible(part))).join("");
