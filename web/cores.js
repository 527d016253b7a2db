/* cores.js — every core of the host as a cell: its last seconds as an area,
 * its load now as a bar and a number. Cells shrink with their count; the
 * smallest are bars alone.
 */

import { Series, Surface, alpha, drawSeries } from "./chart.js";

const WINDOW_MS = 10000;
const GAP = 8;
const TEXT_MIN_W = 52; // narrower cells have no room for words
const TEXT_MIN_H = 34;

const hasWords = (cell) => cell.w >= TEXT_MIN_W && cell.h >= TEXT_MIN_H;

export class Cores {
  constructor(canvas) {
    this.surface = new Surface(canvas);
    this.series = [];
    this.now = [];
    this.shown = []; // what the bars show: eased towards now
  }

  push(t, loads, reach) {
    while (this.series.length < loads.length)
      this.series.push(new Series());
    this.series.length = this.now.length = loads.length;
    loads.forEach((v, i) => {
      this.series[i].push(t, v, reach);
      this.now[i] = v;
    });
  }

  draw(head) {
    const c = this.surface.begin();
    const n = this.series.length;
    if (!n || !Number.isFinite(head))
      return;
    const grid = this.layout(n);
    for (let i = 0; i < n; i++) {
      this.shown[i] = (this.shown[i] ?? 0) + (this.now[i] - (this.shown[i] ?? 0)) * 0.2;
      const x = (i % grid.columns) * (grid.w + grid.gap);
      const y = Math.floor(i / grid.columns) * (grid.h + grid.gap);
      c.save();
      c.translate(x, y);
      this.drawCell(c, i, grid, head);
      c.restore();
    }
  }

  /* Cells wide enough for words if they fit, else upright bars. */
  layout(n) {
    const cells = this.pack(n, 2);
    return hasWords(cells) ? cells : this.pack(n, 0.35);
  }

  /* The number of columns whose cells come closest to w : h = shape with
   * few places left empty. */
  pack(n, shape) {
    const { w, h } = this.surface;
    let best = null;
    for (let columns = 1; columns <= n; columns++) {
      const rows = Math.ceil(n / columns);
      const gap = Math.min(GAP, w / columns / 5);
      const cell = {
        columns,
        gap,
        w: (w - gap * (columns - 1)) / columns,
        h: (h - gap * (rows - 1)) / rows,
      };
      const empty = (rows * columns) / n - 1;
      cell.off = Math.abs(Math.log(cell.w / cell.h / shape)) + 3 * empty;
      if (cell.h > 0 && (!best || cell.off < best.off))
        best = cell;
    }
    return best;
  }

  drawCell(c, i, grid, head) {
    const { w, h } = grid;
    const colour = this.surface.colour("--cpu");
    const words = hasWords(grid);
    const room = h < 60 ? 4 : 30; // for words above the curve
    const from = head - WINDOW_MS;
    const bar = words ? 6 : w;
    c.beginPath();
    c.roundRect(0, 0, w, h, Math.min(10, w / 4, h / 4));
    c.clip();
    c.fillStyle = this.surface.colour("--track");
    c.fillRect(0, 0, w, h);
    if (words)
      drawSeries(c, this.series[i], {
        from,
        to: head,
        base: h,
        colour,
        fill: alpha(colour, 0.16),
        width: h < 60 ? 0 : 1.5, // a line would cross the words
        x: (t) => ((t - from) / WINDOW_MS) * (w - bar),
        y: (v) => h - 1 - (v / 100) * (h - room),
      });
    this.drawBar(c, i, w - bar, bar, h);
    if (words)
      this.drawWords(c, i, w - bar);
  }

  drawBar(c, i, x, w, h) {
    const level = (this.shown[i] / 100) * h;
    c.fillStyle = this.surface.colour("--track");
    c.fillRect(x, 0, w, h);
    c.fillStyle = alpha(this.surface.colour("--cpu"), 0.25);
    c.fillRect(x, 0, w, h);
    c.fillStyle = this.surface.colour("--cpu");
    c.fillRect(x, h - level, w, level);
  }

  drawWords(c, i, right) {
    const family = this.surface.style.fontFamily;
    c.textBaseline = "top";
    c.textAlign = "left";
    c.font = "12px " + family;
    c.fillStyle = this.surface.colour("--faint");
    c.fillText(right > 100 ? "core " + i : String(i), 10, 9);
    c.textAlign = "right";
    c.font = "600 12px " + family;
    c.fillStyle = this.surface.colour("--ink");
    c.fillText(Math.round(this.shown[i]) + " %", right - 9, 9);
  }
}
