/* index.js — the landing page: a live preview of the demos. */

import { Chart, animate, Playhead, Series } from "./chart.js";
import { LiveStream } from "./stream.js";
import { showState } from "./words.js";

const $ = (id) => document.getElementById(id);
const TALK_MAX = 3;
const QUOTES_MAX = 4;

const playhead = new Playhead();
const cpu = new Series();
const chart = new Chart($("preview"), {
  lines: [{ series: cpu, colour: "--cpu", area: 0.3 }],
  least: 20,
  windowMs: 12000,
  bare: true,
  inset: 80,
});

function addLine(text) {
  const line = document.createElement("q");
  line.textContent = text.slice(0, 120);
  $("talk").append(line);
  while ($("talk").children.length > TALK_MAX)
    $("talk").firstElementChild.remove();
}

/* The first symbols that come get a row each and keep it. */
const rows = new Map();

function showQuote({ symbol, price }) {
  if (!rows.has(symbol) && rows.size < QUOTES_MAX) {
    const row = document.createElement("p");
    row.append(document.createElement("span"), document.createElement("b"));
    row.firstChild.textContent = symbol;
    $("quotes").append(row);
    rows.set(symbol, row);
  }
  if (rows.has(symbol))
    rows.get(symbol).lastChild.textContent = price.toFixed(2);
}

new LiveStream({ "host:cpu": undefined, "chat:lobby": undefined, "ticker:quotes": 1 }, {
  onData(channel, data) {
    if (channel === "host:cpu") {
      playhead.see(data.t, performance.now());
      cpu.push(data.t, data.total);
      $("cpu").textContent = data.total.toFixed(0);
    } else if (channel === "ticker:quotes") {
      showQuote(data);
    } else if (typeof data?.text === "string") {
      addLine(data.text);
    }
  },
  onState: (state, words) => showState($("state"), state, words),
});

animate((now) => chart.draw(playhead.at(now)));

$("publish").textContent =
  "curl " + location.origin + "/api/publish \\\n" +
  "  -H 'X-API-Key: demo-key' \\\n" +
  '  -d \'{"channel":"chat:lobby","data":{"name":"curl","text":"Hello"}}\'';
$("listen").textContent =
  'new EventSource("' + location.origin + '/sse?channel=host:cpu")\n' +
  "  .onmessage = (e) => console.log(JSON.parse(e.data));";

for (const button of document.querySelectorAll("[data-copy]"))
  button.onclick = async () => {
    await navigator.clipboard.writeText($(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
if (!navigator.clipboard) // only on https and localhost
  for (const button of document.querySelectorAll("[data-copy]"))
    button.remove();
