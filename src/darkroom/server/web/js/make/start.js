// The picture to start from, and its mask: seen on the form while there is one.

import { draft } from "../draft.js";
import { button, el, fill } from "../dom.js";
import { brought, call } from "../server.js";
import { shape } from "./fields.js";

/** What the form shows of a start picture; nothing where there is none. */
export function starting() {
  const row = el("div.starting", { data: { field: "init_image" } });
  const show = () => {
    const name = draft.get("init_image"), mask = draft.get("mask");
    row.hidden = !name;
    if (!name) { fill(row, el("span", { data: { field: "mask" } })); return; }
    const strength = shape("strength");
    fill(row, el("img", { src: brought(name), alt: "the start picture" }),
      mask ? el("img.mask", { src: brought(mask), alt: "the mask: white is drawn anew", data: { field: "mask" } }) : el("span", { data: { field: "mask" } }),
      el("div.starting-said", {}, el("strong", { text: mask ? "Draws inside the mask" : draft.get("outpaint") ? "Draws around a picture" : "Starts from a picture" }),
        el("span.hint", { text: `strength ${draft.get("strength") ?? (mask ? 1 : draft.get("outpaint") ? 0.9 : 0.7)} of ${strength.maximum}, under More` })),
      button("Paint on it", { icon: "brush", text: "", kind: "quiet", run: () => { location.hash = "#/canvas"; } }),
      button("Start from noise alone", { icon: "close", text: "", kind: "quiet", run: forget }));
  };
  draft.addEventListener("change", ({ detail }) => detail.fields.some((n) => ["init_image", "mask", "outpaint", "strength"].includes(n)) && show());
  show();
  return row;
}

const forget = () => draft.change({ init_image: undefined, mask: undefined, mask_blur: undefined, strength: undefined, outpaint: undefined });

/** Brings a picture along; what the server calls it, and what is written in it. */
export const bring = (blob) => call("POST", "/api/inputs", blob);

/** Takes a picture of the gallery as the one to start from. */
export async function startFrom(address) {
  const blob = await call("GET", address);
  const { name } = await bring(blob);
  draft.change({ init_image: name, mask: undefined, mask_blur: undefined, outpaint: undefined });
  return name;
}
