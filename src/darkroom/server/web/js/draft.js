// What is about to be asked for. It outlives the page: what was typed and not yet sent is there after a reload.

const KEY = "darkroom.draft";
const BEYOND = ["count", "negative", "text"]; // said here in other places than the request has them in

class Draft extends EventTarget {
  constructor() {
    super();
    this.values = { text: "", negative: "", count: 1 };
    try { Object.assign(this.values, JSON.parse(localStorage.getItem(KEY) ?? "{}", revived)); } catch { /* begins anew */ }
  }

  get(field) { return this.values[field]; }

  /** Whether a field says something. */
  says(field) { return said(this.values[field]); }

  /** Says something of a field; undefined, null and "" leave it out. `from` hears nothing of it. */
  set(field, value, from = null) { this.change({ [field]: value }, from); }

  change(values, from = null) {
    for (const [field, value] of Object.entries(values)) {
      if (said(value) || field === "text" || field === "negative") this.values[field] = value ?? "";
      else delete this.values[field];
    }
    this.keep();
    this.dispatchEvent(new CustomEvent("change", { detail: { fields: Object.keys(values), from } }));
  }

  /** Takes a whole request in the place of what was said; the number of pictures stays. */
  take(request, { seed = true } = {}) {
    const prompt = typeof request.prompt === "string" ? { text: request.prompt } : request.prompt ?? {};
    const rest = Object.fromEntries(Object.entries(request).filter(([name]) => name !== "prompt" && (seed || name !== "seed")));
    const gone = Object.fromEntries(Object.keys(this.values).filter((n) => !BEYOND.includes(n)).map((n) => [n, undefined]));
    this.change({ ...gone, text: prompt.text ?? "", negative: prompt.negative ?? "", ...rest });
  }

  clear() { this.take({ prompt: { text: "" } }); }

  /** The request as the server takes it: what is left open is left out. */
  request() {
    const { text, negative, count, ...rest } = this.values;
    return { ...rest, prompt: negative ? { text, negative } : { text } };
  }

  keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify(this.values, (_, v) => (typeof v === "bigint" ? { big: String(v) } : v)));
    } catch { /* a browser that keeps nothing */ }
  }
}

const said = (value) => value !== undefined && value !== null && value !== "" && !(Array.isArray(value) && !value.length);
const revived = (_, value) => (value && typeof value === "object" && typeof value.big === "string" ? BigInt(value.big) : value);

export const draft = new Draft();
