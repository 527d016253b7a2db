/* lane.js — one subscription to the ticker and what it has shown: the newest
 * quote of every symbol, how many were delivered and how many skipped.
 *
 * A delivery says in its tag n how many updates it stands for; all but the one
 * that is there were skipped. The state that comes with the subscription is
 * shown, not counted.
 */

import { Series, Surface, alpha } from "./chart.js";
import { WeirClient } from "./weir-client.js";
import { age } from "./words.js";

const CHANNEL = "ticker:quotes";
const ASK_AGAIN_MS = 1000;
const PALE_MS = 8000; // a value of that age is as pale as it gets
const PALE = 0.45;
const scheme = location.protocol === "https:" ? "wss:" : "ws:";

export class Lane {
  /* Copies `template` into `place`. onQuote(quote, isLive) for every quote
   * that comes, not live when it was there at the subscribe; onState() when
   * the connection changes; onPick(symbol) when the reader wants another
   * symbol in the picture. */
  constructor(template, place, { rate, onQuote, onState, onPick }) {
    this.node = template.content.firstElementChild.cloneNode(true);
    place.append(this.node);
    this.body = this.node.querySelector("tbody");
    this.surface = new Surface(this.node.querySelector("canvas"));
    this.select = this.node.querySelector("select");
    this.select.value = String(rate);
    this.select.onchange = () => this.ask();
    Object.assign(this, { onQuote, onState, onPick });
    this.quotes = new Map(); // symbol -> {quote, series, row}
    this.delivered = 0;
    this.stoodFor = 0;
    this.picked = null;
    this.connect();
  }

  connect() {
    const url = scheme + "//" + location.host + "/connection/websocket";
    this.client = new WeirClient(url, "weir-ticker");
    this.client.onState = (state, words) => this.say(state, words);
    this.client.subscribe(CHANNEL, {
      data: { rate: this.rate() },
      onSnapshot: (quote) => this.take(quote, false),
      onPublication: (quote, info, channel, tags) => {
        this.delivered++;
        this.stoodFor += Number(tags?.n ?? 1);
        this.take(quote, true);
      },
      onSubscribed: ({ data }, asked) => {
        this.showGrant(data);
        if (asked.rate !== this.rate())
          this.ask();
      },
      onError: (error) => this.say("closed", "Refused: " + error.message),
    });
    this.client.connect();
  }

  say(state, words) {
    this.state = state;
    this.words = words;
    this.onState();
  }

  /* ---- the rate -------------------------------------------------------- */

  /* 0.2 while nobody sees the page. */
  rate() {
    return document.hidden ? 0.2 : Number(this.select.value);
  }

  /* Too many changes are tried again later; without a connection or a
   * subscription the next subscribe asks. */
  async ask() {
    const rate = this.rate();
    const isCurrent = () => rate === this.rate();
    try {
      const granted = await this.client.throttle(CHANNEL, { rate });
      if (isCurrent())
        this.showGrant(granted);
    } catch (error) {
      if (error.code === 100 || error.code === 111)
        setTimeout(() => isCurrent() && this.ask(), ASK_AGAIN_MS);
    }
  }

  showGrant(granted) {
    this.granted = granted?.rate ?? 0;
    this.put("granted", this.granted ? "granted " + this.granted + " /s" : "everything");
  }

  /* ---- quotes ---------------------------------------------------------- */

  take(quote, isLive) {
    let own = this.quotes.get(quote.symbol);
    if (!own)
      this.quotes.set(quote.symbol, (own = this.addRow(quote.symbol)));
    own.quote = quote;
    own.series.push(quote.t, quote.price);
    own.dirty = true;
    this.onQuote(quote, isLive);
  }

  /* In the order of the alphabet, so that all lanes have the same. */
  addRow(symbol) {
    const row = this.body.insertRow();
    const head = document.createElement("th");
    const button = document.createElement("button");
    head.scope = "row";
    button.type = "button";
    button.textContent = symbol;
    head.append(button);
    row.append(head, document.createElement("td"), document.createElement("td"));
    row.dataset.symbol = symbol;
    row.classList.toggle("picked", symbol === this.picked);
    row.onclick = () => this.onPick(symbol);
    const after = [...this.body.rows].find((r) => r.dataset.symbol > symbol);
    this.body.insertBefore(row, after ?? null);
    return { quote: null, series: new Series(), row, dirty: false };
  }

  mark(symbol) {
    this.picked = symbol;
    for (const row of this.body.rows)
      row.classList.toggle("picked", row.dataset.symbol === symbol);
  }

  /* What changed since the last frame. */
  writeQuotes() {
    for (const own of this.quotes.values()) {
      if (!own.dirty)
        continue;
      own.dirty = false;
      const { price, open } = own.quote;
      const [, cell, change] = own.row.cells;
      const share = (100 * (price - open)) / open;
      cell.textContent = price.toFixed(2);
      cell.style.opacity = 1;
      change.textContent = (share < 0 ? "−" : "+") + Math.abs(share).toFixed(2) + " %";
      change.className = share < 0 ? "down" : "up";
    }
  }

  /* head: the feed's clock, now. */
  writeFigures(head) {
    let oldest = 0;
    for (const { quote, row } of this.quotes.values()) {
      const old = Math.max(0, head - quote.t);
      oldest = Math.max(oldest, old);
      const pale = 1 - (1 - PALE) * Math.min(1, old / PALE_MS);
      row.cells[1].style.opacity = pale.toFixed(2);
    }
    this.put("delivered", this.delivered.toLocaleString("en"));
    this.put("skipped", (this.stoodFor - this.delivered).toLocaleString("en"));
    if (this.quotes.size)
      this.put("age", age(oldest));
  }

  put(is, text) {
    const node = this.node.querySelector(`[data-is="${is}"]`);
    if (node.textContent !== text)
      node.textContent = text;
  }

  /* ---- the picture ----------------------------------------------------- */

  /* A quote holds until the next one: steps, not slopes. */
  draw(symbol, { from, to, low, high }) {
    const c = this.surface.begin();
    const { w, h } = this.surface;
    const series = this.quotes.get(symbol)?.series;
    if (!series || !Number.isFinite(to))
      return;
    const colour = this.surface.colour("--cpu");
    const right = w - 6; // room for the dot
    const x = (t) => (Math.max(0, t - from) / (to - from)) * right;
    const height = h - 38;
    const y = (v) => 29 + height * Math.max(0, Math.min(1, (high - v) / (high - low)));
    const steps = new Path2D();
    let last = null;
    series.since(from, (t, v) => {
      const at = x(Math.min(t, to));
      if (last === null)
        steps.moveTo(at, y(v));
      else
        steps.lineTo(at, y(last));
      steps.lineTo(at, y(v));
      last = v;
    });
    steps.lineTo(right, y(last));
    this.strokeSteps(c, steps, colour);
    this.drawDot(c, right, y(last), colour);
    this.drawWords(c, symbol, w);
  }

  strokeSteps(c, steps, colour) {
    const { w, h } = this.surface;
    c.strokeStyle = this.surface.colour("--line");
    c.lineWidth = 1;
    c.strokeRect(-1, 19.5, w + 2, h - 20);
    c.save();
    c.beginPath();
    c.rect(0, 20, w, h - 21);
    c.clip();
    c.strokeStyle = colour;
    c.lineWidth = 1.75;
    c.lineJoin = "round";
    c.stroke(steps);
    c.restore();
  }

  drawDot(c, x, y, colour) {
    c.fillStyle = alpha(colour, 0.2);
    c.beginPath();
    c.arc(x, y, 6, 0, 7);
    c.fill();
    c.fillStyle = colour;
    c.beginPath();
    c.arc(x, y, 3, 0, 7);
    c.fill();
  }

  drawWords(c, symbol, w) {
    const family = this.surface.style.fontFamily;
    c.textBaseline = "top";
    c.textAlign = "left";
    c.font = "600 12px " + family;
    c.fillStyle = this.surface.colour("--soft");
    c.fillText(symbol, 0, 2);
    c.textAlign = "right";
    c.font = "11px " + family;
    c.fillStyle = this.surface.colour("--faint");
    c.fillText(w > 160 ? "last 20 s" : "20 s", w, 3);
  }
}
