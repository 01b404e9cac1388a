// The one way to the server: its answers, its sentences where something is wrong, its streams of events.

/** What the server said about something it refused; the message is its own sentence. */
export class Told extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

export const session = new EventTarget(); // "locked" when a key is asked for, "lost" and "found" with the connection

/** Asks for something; `body` is sent as JSON, or as it is where it is a Blob. Gives what came back. */
export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers }, cache: "no-store" };
  if (body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.body = written(body);
    options.headers["content-type"] = "application/json";
  }
  const response = await reached(() => fetch(path, options));
  if (!response.ok) throw await refusal(response);
  const type = response.headers.get("content-type") ?? "";
  return type.includes("json") ? read(await response.text()) : response.blob();
}

export const get = (path) => call("GET", path);
export const post = (path, body = {}, headers = {}) => call("POST", path, body, headers);

async function reached(ask) {
  try {
    const response = await ask();
    session.dispatchEvent(new Event("found"));
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    session.dispatchEvent(new Event("lost"));
    throw new Told(0, "unreachable", "the studio does not answer; see whether `darkroom serve` still runs");
  }
}

async function refusal(response) {
  if (response.status === 401) session.dispatchEvent(new Event("locked"));
  try {
    const { error } = await response.json();
    return new Told(response.status, error.code, error.message);
  } catch {
    return new Told(response.status, `http_${response.status}`, `the studio answered ${response.status}`);
  }
}

// Seeds go up to 2^63, beyond what a JavaScript number holds: such numbers are BigInts here, and plain digits outside.
function written(body) {
  const text = JSON.stringify(body, (_, value) => (typeof value === "bigint" ? `\u0000${value}` : value));
  return text.replace(/"\\u0000(\d+)"/g, "$1");
}

/** JSON, with whole numbers beyond 2^53 as BigInts. */
export function read(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER && /^\d+$/.test(context?.source ?? "")
      ? BigInt(context.source) : value);
}

/** Follows a stream of events until `signal` says stop or, where `ends`, it ends. Begins again where it broke off. */
export async function follow(path, { after = null, signal, seen, ends = false, opened = () => {} }) {
  let last = after, wait = 300;
  while (!signal.aborted) {
    try {
      const query = last === null ? "" : `${path.includes("?") ? "&" : "?"}after=${last}`;
      const response = await reached(() => fetch(path + query, { signal, cache: "no-store" }));
      if (!response.ok) throw await refusal(response);
      opened(last);
      wait = 300;
      for await (const { id, data } of events(response.body)) {
        last = Number(id);
        seen(JSON.parse(data), last);
      }
      if (ends) return;
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      if (error.status >= 400 && error.status < 500) { if (error.status !== 401) throw error; wait = 3000; }
    }
    await new Promise((wake) => setTimeout(wake, wait));
    wait = Math.min(wait * 2, 5000);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const fields = Object.fromEntries(part.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
        if (fields.data) yield fields;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** An address of a picture. */
export const picture = (name, what = "") => `/api/pictures/${encodeURIComponent(name)}${what ? `/${what}` : ""}`;
export const brought = (name) => `/api/inputs/${encodeURIComponent(name)}`;

/** A key for one call, so that a call that is sent twice asks once. */
export const once = () => ({ "idempotency-key": [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("") });
