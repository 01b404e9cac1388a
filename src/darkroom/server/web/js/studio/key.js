// The form for a key, where the server asks for one. The key goes into a cookie that no script can read.

import { el } from "../dom.js";
import { post } from "../server.js";

export function keyForm(entered) {
  const input = el("input", { id: "key", type: "password", autocomplete: "current-password", required: true });
  const why = el("p.bad", { role: "alert" });
  const enter = async (event) => {
    event.preventDefault();
    why.textContent = "";
    try { await post("/api/session", { key: input.value.trim() }); entered(); } catch (error) { why.textContent = error.message; input.select(); }
  };
  queueMicrotask(() => input.focus());
  return el("section.key", {}, el("h1", { text: "darkroom" }), el("form.stack", { on: { submit: enter } },
    el("label", { for: "key", text: "Your key" }), input,
    el("p.hint", { text: "Whoever runs this studio has given you one. This browser keeps it for thirty days." }),
    why, el("button.button.primary", { type: "submit", text: "Come in" })));
}
