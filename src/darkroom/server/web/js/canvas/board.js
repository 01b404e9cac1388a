// The board: the picture, the mask over it, the margins around it; painted on with a mouse, a pen or a finger.

import { el, fill } from "../dom.js";
import { Strokes } from "./strokes.js";

const SIDES = ["left", "top", "right", "bottom"];

/** A board for a picture. `brush` says {radius, erases}; `changed` is told after each stroke. */
export function board(image, brush, margins, changed) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const below = el("canvas", { "aria-hidden": "true" });
  const paint = el("canvas.paint", { tabindex: 0, role: "img", "aria-label": "The picture to paint on. Painted parts are drawn anew. Brush and eraser work with mouse, pen and finger; all of it can be chosen by the buttons beside." });
  const node = el("div.board", {}, below, paint);
  const strokes = new Strokes(width, height, show);
  let pointer = null, drawing = false;
  for (const canvas of [below, paint]) Object.assign(canvas, { width, height });
  below.getContext("2d").drawImage(image, 0, 0);

  function show() {
    const pen = paint.getContext("2d");
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, width, height);
    pen.drawImage(strokes.canvas, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = "rgb(255 84 52 / 0.55)";
    pen.fillRect(0, 0, width, height);
    pen.globalCompositeOperation = "source-over";
    if (!pointer) return;
    const { radius, erases } = brush();
    for (const [colour, line] of [["#000", 2.4], ["#fff", 1.2]]) {
      pen.beginPath();
      pen.arc(pointer[0], pointer[1], radius, 0, 2 * Math.PI);
      pen.strokeStyle = colour;
      pen.lineWidth = (line * width) / Math.max(1, paint.clientWidth);
      pen.setLineDash(erases ? [4, 4] : []);
      pen.stroke();
    }
  }

  const place = (event) => {
    const box = paint.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  paint.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    paint.setPointerCapture(event.pointerId);
    paint.focus({ preventScroll: true });
    drawing = true;
    pointer = place(event);
    const { radius, erases } = brush();
    strokes.begin(pointer, radius, erases);
  });
  paint.addEventListener("pointermove", (event) => {
    for (const one of event.getCoalescedEvents?.() ?? [event]) { pointer = place(one); if (drawing) strokes.go(pointer); }
    if (!drawing) { pointer = place(event); show(); }
  });
  for (const ended of ["pointerup", "pointercancel"]) paint.addEventListener(ended, () => { if (drawing) { drawing = false; changed(); } });
  paint.addEventListener("pointerleave", () => { if (!drawing) { pointer = null; show(); } });

  /** Fits the board, margins and all, into the room there is. */
  function fit() {
    const room = node.parentElement;
    if (!room) return;
    const around = margins();
    const [whole, tall] = [width + around.left + around.right, height + around.top + around.bottom];
    const padding = 44;
    const scale = Math.min((room.clientWidth - padding) / whole, Math.max(260, room.clientHeight - padding) / tall, 720 / Math.max(whole, tall));
    node.style.width = `${whole * scale}px`;
    node.style.height = `${tall * scale}px`;
    const inset = SIDES.map((side) => around[side] * scale);
    for (const canvas of [below, paint]) {
      Object.assign(canvas.style, { left: `${inset[0]}px`, top: `${inset[1]}px`, width: `${width * scale}px`, height: `${height * scale}px` });
    }
    let shade = node.querySelector(".margin-shade");
    const any = SIDES.some((side) => around[side]);
    if (any && !shade) { shade = el("div.margin-shade"); node.prepend(shade); }
    if (!any) shade?.remove();
    if (shade) Object.assign(shade.style, { inset: "0" });
    show();
  }
  new ResizeObserver(() => fit()).observe(node);
  addEventListener("resize", fit);
  return { node, strokes, fit, width, height, show };
}

/** What stands on the easel while there is no picture. */
export function vacant(...children) {
  return fill(el("div.vacant-board"), el("h2", { text: "A picture to paint on" }),
    el("p", { text: "Paint over what shall be drawn anew, say what shall be there, and only that changes. Or add margins, and the picture goes on beyond its edges." }), ...children);
}
