// Elements, made in one place: text is always text, never markup.

/** An element. `props`: attributes; `on` listeners, `data` its dataset, `vars` CSS variables, `text` its text. */
export function el(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else if (key === "data") Object.assign(made.dataset, value);
    else if (key === "vars") for (const [name, v] of Object.entries(value)) made.style.setProperty(name, v);
    else if (key === "text") made.textContent = value;
    else if (key === "value") made.value = value;
    else if (key === "class") made.className = [made.className, value].filter(Boolean).join(" ");
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Replaces what an element holds. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return parent;
}

/** A button with an icon, a text, or both; without a text `label` names it. */
export function button(label, { icon: name, run, kind = "", text = label, ...rest } = {}) {
  const bare = name && text === "";
  return el(
    `button.button`,
    { type: "button", class: [kind, bare ? "bare" : ""].join(" ").trim(), "aria-label": bare ? label : null,
      title: bare ? label : null, on: run ? { click: run } : {}, ...rest },
    name ? icon(name) : null,
    text ? el("span", { text }) : null,
  );
}

/** An icon of a few strokes; it says nothing by itself. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true" }))
    svg.setAttribute(key, value);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const ICONS = {
  heart: "M12 20s-7.5-4.6-7.5-10A4.3 4.3 0 0 1 12 7.200 4.300 4.300 0 0 1 19.500 10c0 5.400-7.500 10-7.500 10z",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.500 10.500v5.500M13.500 10.500v5.500",
  download: "M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 19.500h14",
  upload: "M12 15.500V4.500M7.500 9L12 4.500 16.500 9M5 19.500h14",
  sliders: "M4 8h9M17 8h3M4 16h3M11 16h9M15 5.500v5M9 13.500v5",
  dice: "M7.500 4.500h9a3 3 0 0 1 3 3v9a3 3 0 0 1-3 3h-9a3 3 0 0 1-3-3v-9a3 3 0 0 1 3-3zM8.800 8.800h.01M15.200 8.800h.01M12 12h.01M8.800 15.200h.01M15.200 15.200h.01",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 3v1.500M12 19.500V21M3 12h1.500M19.500 12H21M5.600 5.600l1.100 1.100M17.300 17.300l1.100 1.100M5.600 18.400l1.100-1.100M17.300 6.700l1.100-1.100",
  moon: "M19 14.500A7.500 7.500 0 0 1 9.500 5a7.500 7.500 0 1 0 9.500 9.500z",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  close: "M6 6l12 12M18 6L6 18",
  left: "M14.500 5.500L8 12l6.500 6.500",
  right: "M9.500 5.500L16 12l-6.500 6.500",
  up: "M12 19V6M6.500 11.500L12 6l5.500 5.500",
  play: "M8 5.500v13l10-6.500z",
  pause: "M8 5.500v13M16 5.500v13",
  again: "M19 12a7 7 0 1 1-2.200-5.100M19 4.500V8h-3.500",
  brush: "M14 6l4 4-7 7-4-4zM7 13c-3 .5-1.500 4-4 5.500 3.500 1 7.500.5 8-1.500",
  eraser: "M9 19l-4.500-4.500L14 5l5.500 5.500L11 19zM9.500 9.500L15 15M11 19h8.500",
  undo: "M8 6L4 10l4 4M4 10h10a5 5 0 0 1 0 10h-3",
  redo: "M16 6l4 4-4 4M20 10H10a5 5 0 0 0 0 10h3",
  check: "M5 12.500l4.500 4.500L19 7.500",
  plus: "M12 5v14M5 12h14",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.500 15.500L20 20",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  board: "M4 6.500h6l2 2h8v10H4z",
  wand: "M5 19L15 9M13 7l4 4M18 3v3M16.500 4.500h3M19.500 12v2.500M18.200 13.200h2.600",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 2.500-2.500L20 17M15.500 8.500h.01",
  queue: "M5 6.500h14M5 12h14M5 17.500h9",
  back: "M11 6l-6 6 6 6M5 12h14",
  star: "M12 4.500l2.300 4.800 5.200.7-3.800 3.600.9 5.200-4.600-2.500-4.600 2.500.9-5.200L4.500 10l5.200-.7z",
};

/** What a person is told for a moment, at the foot of the page; `action` [label, run] may undo it. */
export function toast(text, { kind = "", action = null } = {}) {
  const place = document.querySelector("#toasts");
  const made = el("div.toast", { class: kind, role: kind === "bad" ? "alert" : "status" }, el("span", { text }));
  const gone = () => made.remove();
  if (action) made.append(button(action[0], { kind: "quiet", run: () => { gone(); action[1](); } }));
  made.append(button("Close", { icon: "close", text: "", kind: "quiet", run: gone }));
  place.append(made);
  while (place.children.length > 4) place.firstChild.remove();
  setTimeout(gone, kind === "bad" ? 12000 : 6000);
}

/** A dialog with a title; closed by Escape, its button, or a click beside it. Gives the element, open. */
export function dialog(title, { wide = false, onclose = null } = {}, ...children) {
  const id = `t${Math.random().toString(36).slice(2)}`;
  const made = el("dialog.dialog", { class: wide ? "wide" : "", "aria-labelledby": id });
  made.append(
    el("header.dialog-head", {}, el("h2", { id, text: title }),
      button("Close", { icon: "close", text: "", kind: "quiet", run: () => made.close() })),
    el("div.dialog-body", {}, ...children),
  );
  made.addEventListener("click", (event) => event.target === made && made.close());
  made.addEventListener("close", () => { made.remove(); onclose?.(); });
  document.body.append(made);
  made.showModal();
  return made;
}

/** Runs once it has been quiet for a moment. */
export function settled(run, ms = 250) {
  let timer = 0;
  return (...args) => { clearTimeout(timer); timer = setTimeout(() => run(...args), ms); };
}

/** Seconds in words. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return "under a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
