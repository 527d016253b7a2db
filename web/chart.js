/* chart.js — time series on a canvas that scroll smoothly.
 *
 * Samples carry the sender's clock. Playhead maps it to ours and plays a
 * quarter of a second behind, so that the next sample is already there when
 * the picture needs it and jitter of the network does not show.
 * A hole in the data is drawn as a hole.
 */

const DELAY_MS = 250;
const HOLE_MS = 1500;
const JUMP_MS = 5000;
const EARLY_MS = 500;
const CALM_MS = 1000;
const CAPACITY = 1024; // samples; 30 s at 20 Hz are 600

export class Playhead {
  see(t, now) {
    const d = now - t;
    const late = d - this.offset;
    if (this.offset === undefined || late > JUMP_MS || late < -EARLY_MS)
      this.offset = d; // first sample, an old one before, or a clock was set
    else
      this.offset += (d - this.offset) * (d < this.offset ? 0.2 : 0.002);
  }

  at(now) {
    return now - this.offset - DELAY_MS; // NaN before the first sample
  }
}

/* The newest CAPACITY samples of one value. */
export class Series {
  constructor() {
    this.t = new Float64Array(CAPACITY);
    this.v = new Float64Array(CAPACITY);
    this.reach = new Float64Array(CAPACITY);
    this.n = 0; // samples ever pushed
  }

  /* reach: ms to the next sample that are no hole, where samples are rare. */
  push(t, v, reach = 0) {
    if (this.n && t <= this.t[(this.n - 1) % CAPACITY])
      return; // out of order: the line goes one way only
    this.t[this.n % CAPACITY] = t;
    this.v[this.n % CAPACITY] = v;
    this.reach[this.n++ % CAPACITY] = HOLE_MS + reach;
  }

  /* Calls each(t, v, reach) from the sample before `from` on. */
  since(from, each) {
    const first = Math.max(0, this.n - CAPACITY);
    let i = this.n;
    while (i > first && this.t[(i - 1) % CAPACITY] >= from)
      i--;
    for (i = Math.max(first, i - 1); i < this.n; i++)
      each(this.t[i % CAPACITY], this.v[i % CAPACITY], this.reach[i % CAPACITY]);
  }

  peak(from, least = 0) {
    let most = least;
    this.since(from, (t, v) => (most = Math.max(most, v)));
    return most;
  }
}

/* A canvas that follows its size and the screen's density. */
export class Surface {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.scale = 0;
    this.stamp = 0; // changes when sizes or colours did
    new ResizeObserver(() => (this.scale = 0)).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)")
      .addEventListener("change", () => (this.scale = 0));
  }

  begin() {
    if (this.scale !== devicePixelRatio)
      this.fit();
    this.context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    this.context.clearRect(0, 0, this.w, this.h);
    return this.context;
  }

  fit() {
    this.scale = devicePixelRatio;
    this.w = this.canvas.clientWidth;
    this.h = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.w * this.scale);
    this.canvas.height = Math.round(this.h * this.scale);
    this.style = getComputedStyle(this.canvas);
    this.colours = {};
    this.stamp++;
  }

  colour(name) {
    return (this.colours[name] ??= this.style.getPropertyValue(name).trim());
  }
}

/* 1, 2 or 5 times a power of ten, at or above v. */
export function niceCeil(v) {
  const unit = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].find((m) => m * unit >= v * 0.999) * unit;
}

/* The line of one series and the area under it. x and y map time and value
 * to pixels; without fill or width there is no area or no line. */
export function drawSeries(c, series, { from, to, x, y, base, colour, fill, width = 1.75 }) {
  let reached = 0; // up to when the line goes on over a gap
  const line = new Path2D();
  const area = new Path2D();
  let last = null;
  const close = () => last && (area.lineTo(x(last), base), area.closePath());
  series.since(from, (t, v, reach) => {
    if (t > to + 1000)
      return;
    if (last === null || t > Math.max(reached, last + reach)) {
      close();
      line.moveTo(x(t), y(v));
      area.moveTo(x(t), base);
    }
    line.lineTo(x(t), y(v));
    area.lineTo(x(t), y(v));
    last = t;
    reached = t + reach;
  });
  close();
  if (fill) {
    c.fillStyle = fill;
    c.fill(area);
  }
  if (!width)
    return;
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.lineJoin = "round";
  c.stroke(line);
}

export class Chart {
  /* lines: [{series, colour: "--cpu", area: 0.2}]; most: a fixed top, else
   * the scale follows the data but never falls under `least`; bare: no grid and
   * no words; inset: room above the top of the scale. */
  constructor(canvas, { lines, most, least = 1, label, windowMs = 30000, bare = false, inset = 8 }) {
    this.surface = new Surface(canvas);
    Object.assign(this, { lines, most, least, label, windowMs, bare, inset });
    this.top = most ?? least;
  }

  draw(head) {
    const c = this.surface.begin();
    const { w, h } = this.surface;
    const to = Number.isFinite(head) ? head : Date.now();
    const from = to - this.windowMs;
    const pad = this.bare ? 0 : 20;
    this.follow(from);
    const box = {
      from,
      to,
      base: h - pad,
      x: (t) => ((t - from) / this.windowMs) * w,
      y: (v) => h - pad - (Math.min(v, this.top * 1.1) / this.top) * (h - pad - this.inset),
    };
    if (!this.bare)
      this.drawGrid(c, w, h - pad, from);
    c.save();
    c.beginPath();
    c.rect(0, 0, w, h - pad + 1);
    c.clip();
    for (const line of this.lines)
      drawSeries(c, line.series, {
        ...box,
        colour: this.surface.colour(line.colour),
        fill: this.gradient(c, line, h - pad),
      });
    c.restore();
    this.drawLabels(c, w, h);
  }

  /* The scale moves softly, so that a spike does not make the rest jump. */
  follow(from) {
    if (this.most)
      return;
    const peaks = this.lines.map((line) => line.series.peak(from, this.least));
    this.goal = niceCeil(Math.max(...peaks));
    this.top += (this.goal - this.top) * (this.goal > this.top ? 0.25 : 0.06);
  }

  gradient(c, line, h) {
    if (line.stamp !== this.surface.stamp) {
      const colour = this.surface.colour(line.colour);
      line.stamp = this.surface.stamp;
      line.fill = c.createLinearGradient(0, 0, 0, h);
      line.fill.addColorStop(0, alpha(colour, line.area));
      line.fill.addColorStop(1, alpha(colour, line.area * 0.15));
    }
    return line.fill;
  }

  drawGrid(c, w, base, from) {
    const step = this.windowMs / 6;
    c.strokeStyle = this.surface.colour("--line");
    c.lineWidth = 1;
    c.beginPath();
    for (let i = 0; i <= 4; i++) {
      const y = Math.round(this.inset + ((base - this.inset) * i) / 4) + 0.5;
      c.moveTo(0, y);
      c.lineTo(w, y);
    }
    c.stroke();
    c.globalAlpha = 0.6;
    c.beginPath();
    for (let t = Math.ceil(from / step) * step; t < from + this.windowMs; t += step) {
      const x = ((t - from) / this.windowMs) * w;
      c.moveTo(x, this.inset);
      c.lineTo(x, base);
    }
    c.stroke();
    c.globalAlpha = 1;
  }

  drawLabels(c, w, h) {
    if (this.bare)
      return;
    c.font = "11px " + this.surface.style.fontFamily;
    c.fillStyle = this.surface.colour("--faint");
    c.textBaseline = "top";
    c.textAlign = "left";
    c.fillText(this.label(this.goal ?? this.most), 2, 12);
    c.textBaseline = "alphabetic";
    c.fillText(this.windowMs / 1000 + " s ago", 0, h - 3);
    c.textAlign = "right";
    c.fillText("now", w, h - 3);
  }
}

/* Calls draw(now) for every frame the screen shows; once a second for those
 * who asked for less motion. */
export function animate(draw) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let drawn = -Infinity;
  const frame = () => {
    requestAnimationFrame(frame);
    const now = performance.now();
    if (calm.matches && now - drawn < CALM_MS)
      return;
    drawn = now;
    draw(now);
  };
  requestAnimationFrame(frame);
}

/* Colours in the sheet are #rrggbb. */
export function alpha(colour, a) {
  return colour + Math.round(a * 255).toString(16).padStart(2, "0");
}
