// The HTTP API: JSON in and out, one error class, and one place that notices that a login is needed.

const BASE = "api/v1/";
const TIMEOUT_MS = 10_000;

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status; // 0: no answer at all
    this.code = code;
  }
}

let onUnauthorized = () => {};

// What to do when the broker asks for a login.
export function whenUnauthorized(action) {
  onUnauthorized = action;
}

export const get = (path, parameters) => call("GET", path + query(parameters));
export const post = (path, body = {}) => call("POST", path, body);
export const remove = (path, parameters) => call("DELETE", path + query(parameters));

// A part of a path that strangers named.
export const part = encodeURIComponent;

function query(parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? "?" + new URLSearchParams(given) : "";
}

async function call(method, path, body) {
  let response;
  let text;
  try {
    response = await fetch(BASE + path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch {
    throw new ApiError(0, "no_answer", "The broker does not answer.");
  }
  const answer = parse(text);
  if (response.ok) return answer;
  const { code = "http_" + response.status, message = `The broker answered ${response.status}.` } = answer?.error ?? {};
  if (response.status === 401 && path !== "login") onUnauthorized();
  throw new ApiError(response.status, code, message);
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // a proxy's page, perhaps
  }
}
