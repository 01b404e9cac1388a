// A mask made of strokes: drawn, undone, done again. It is kept as what was done, so that nothing of it is lost.

/** The strokes on a mask of a size; `drawn` is told whenever it looks otherwise. */
export class Strokes {
  constructor(width, height, drawn) {
    Object.assign(this, { width, height, drawn, done: [], undone: [] });
    this.canvas = Object.assign(document.createElement("canvas"), { width, height });
  }

  get empty() { return !this.done.some((one) => one.kind !== "clear") || this.done.at(-1)?.kind === "clear"; }

  begin(point, radius, erases) {
    this.undone = [];
    this.done.push({ kind: erases ? "erase" : "paint", radius, points: [point] });
    this.draw();
  }

  go(point) {
    const stroke = this.done.at(-1);
    stroke.points.push(point);
    this.line(stroke, stroke.points.length - 2);
    this.drawn();
  }

  /** What is done at once to all of it: clear, fill, invert. */
  all(kind) { this.undone = []; this.done.push({ kind }); this.draw(); }

  undo() { if (this.done.length) { this.undone.push(this.done.pop()); this.draw(); } }
  redo() { if (this.undone.length) { this.done.push(this.undone.pop()); this.draw(); } }

  draw() {
    const pen = this.canvas.getContext("2d");
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, this.width, this.height);
    for (const stroke of this.done) {
      if (stroke.points) { for (let at = 0; at < stroke.points.length; at++) this.line(stroke, at); continue; }
      pen.globalCompositeOperation = { clear: "destination-out", fill: "source-over", invert: "xor" }[stroke.kind];
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, this.width, this.height);
    }
    this.drawn();
  }

  line(stroke, at) {
    const pen = this.canvas.getContext("2d");
    const [from, to] = [stroke.points[Math.max(0, at)], stroke.points[Math.min(at + 1, stroke.points.length - 1)]];
    pen.globalCompositeOperation = stroke.kind === "erase" ? "destination-out" : "source-over";
    Object.assign(pen, { strokeStyle: "#fff", lineWidth: 2 * stroke.radius, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    pen.moveTo(from[0], from[1]);
    pen.lineTo(to[0] + (from === to ? 0.01 : 0), to[1]);
    pen.stroke();
  }

  /** The mask as a file: white where it is drawn anew, black where it is kept. */
  async file() {
    const flat = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    const pen = flat.getContext("2d");
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, this.width, this.height);
    pen.drawImage(this.canvas, 0, 0);
    return new Promise((done) => flat.toBlob(done, "image/png"));
  }
}
