/* ticker.js — one feed of quotes, three subscriptions side by side that differ
 * in nothing but the rate they ask for.
 *
 * Each is a connection of its own, as three readers would be. The rates are
 * asked for with the subscription and changed while it runs (lane.js); a page
 * that nobody sees asks for little.
 */

import { animate } from "./chart.js";
import { Lane } from "./lane.js";
import { showState } from "./words.js";

const $ = (id) => document.getElementById(id);
const RATES = [20, 2, 0.2];
const WINDOW_MS = 20000;
const TEXT_MS = 200;
const SOURCE_MS = 5000;  // the feed's own rate is measured over this
const QUIET_MS = 3000;   // no quote for that long, or for ...
const QUIET_TURNS = 2.5; // ... that many intervals of the fastest lane
const ORDER = ["closed", "waiting", "connecting", "live"]; // worst first

let picked = null;
let offset = Infinity; // our clock less the feed's: the least ever seen
let heard = -Infinity; // when the last live quote came
let newest = null;     // the newest quote any lane has
let readings = [];     // {t, seq} of the feed, oldest first
const range = { low: 0, high: 0 };

const lanes = [];

for (const rate of RATES)
  lanes.push(new Lane($("lane"), $("lanes"), { rate, onQuote, onState: showWorst, onPick: pick }));

function onQuote(quote, isLive) {
  if (isLive) {
    heard = performance.now();
    offset = Math.min(offset, heard - quote.t);
  }
  if (!newest || quote.t > newest.t)
    newest = quote;
  if (!picked)
    pick(quote.symbol);
}

/* The feed's clock now; ours until a live quote has shown the difference. */
const feedTime = () => (offset < Infinity ? performance.now() - offset : Date.now());

function pick(symbol) {
  picked = symbol;
  range.low = range.high = 0;
  for (const lane of lanes)
    lane.mark(symbol);
}

const quietWords = (ms) =>
  ms < Infinity ? "No data for " + Math.floor(ms / 1000) + " s" : "Connected";

/* ---- words -------------------------------------------------------------- */

/* One pill for three connections: the worst decides. */
function showWorst() {
  const rank = ({ state }) => ORDER.indexOf(state);
  const [worst] = [...lanes].sort((a, b) => rank(a) - rank(b));
  if (!worst)
    return; // the first lane is being made
  const silent = performance.now() - heard;
  const waits = lanes.map((lane) => (lane.granted ? 1000 / lane.granted : 0));
  const patience = Math.max(QUIET_MS, QUIET_TURNS * Math.min(...waits));
  let { state, words } = worst;
  if (state === "live" && silent < patience)
    words = "Live";
  else if (state === "live")
    [state, words] = ["quiet", quietWords(silent)];
  showState($("state"), state, words);
  document.body.classList.toggle("stale", state !== "live");
}

/* What the feed publishes, from the numbers its quotes carry. */
function writeSource() {
  if (!newest)
    return;
  const { t, seq } = newest;
  if (readings.length && seq < readings.at(-1).seq)
    readings = []; // the feed began anew
  if (seq !== readings.at(-1)?.seq)
    readings.push({ t, seq });
  while (readings[0].t < t - SOURCE_MS)
    readings.shift();
  const symbols = Math.max(...lanes.map((lane) => lane.quotes.size));
  const ms = t - readings[0].t;
  $("symbols").textContent = symbols;
  if (ms > 1000)
    $("source").textContent = Math.round((symbols * 1000 * (seq - readings[0].seq)) / ms);
}

/* ---- pictures ----------------------------------------------------------- */

/* All lanes have one scale, and it moves softly. */
function follow(from) {
  let low = Infinity;
  let high = -Infinity;
  for (const lane of lanes)
    lane.quotes.get(picked)?.series.since(from, (t, v) => {
      low = Math.min(low, v);
      high = Math.max(high, v);
    });
  const middle = (low + high) / 2;
  const half = Math.max((high - low) / 2, middle * 0.0005);
  const ease = range.high ? 0.15 : 1;
  range.low += (middle - half - range.low) * ease;
  range.high += (middle + half - range.high) * ease;
}

function draw() {
  const to = feedTime();
  const from = to - WINDOW_MS;
  if (picked)
    follow(from);
  for (const lane of lanes) {
    lane.writeQuotes();
    lane.draw(picked, { from, to, ...range });
  }
}

document.addEventListener("visibilitychange", () => lanes.forEach((lane) => lane.ask()));
setInterval(() => {
  showWorst();
  writeSource();
  for (const lane of lanes)
    lane.writeFigures(feedTime());
}, TEXT_MS);
animate(draw);
