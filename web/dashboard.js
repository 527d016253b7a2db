/* dashboard.js — what hostfeed publishes, as numbers and pictures, as often
 * as the reader asks for it and hardly ever while nobody looks. */

import { Chart, animate, Playhead, Series } from "./chart.js";
import { Cores } from "./cores.js";
import { LiveStream } from "./stream.js";
import { duration, showState, size, speed } from "./words.js";

const $ = (id) => document.getElementById(id);
const RATE_MS = 1000;    // updates a second are counted over this
const RATE_TURNS = 2;    // or over this many intervals of a slow rate
const HIDDEN_RATE = 0.2; // for a tab that nobody sees
const WINDOW_MS = 30000;
const TEXT_MS = 200;     // numbers that change faster cannot be read

const playhead = new Playhead();
const series = {};
for (const name of ["cpu", "mem", "rx", "tx", "read", "write"])
  series[name] = new Series();

const percent = (v) => Math.round(v) + " %";
const charts = {
  cpu: new Chart($("cpu-chart"), {
    lines: [{ series: series.cpu, colour: "--cpu", area: 0.32 }],
    most: 100,
    label: percent,
  }),
  mem: new Chart($("mem-chart"), {
    lines: [{ series: series.mem, colour: "--mem", area: 0.28 }],
    most: 100,
    label: percent,
  }),
  net: pairChart("net-chart", "rx", "tx"),
  disk: pairChart("disk-chart", "read", "write"),
  cores: new Cores($("cores-chart")),
};

function pairChart(id, into, out) {
  return new Chart($(id), {
    lines: [
      { series: series[into], colour: "--in", area: 0.26 },
      { series: series[out], colour: "--out", area: 0.16 },
    ],
    least: 10000,
    label: (v) => Number(speed(v)[0]) + " " + speed(v)[1],
  });
}

const latest = {};       // the last message of each channel
let interval = 0;        // of the granted rate; 0: as it comes
let since = 0;           // when it was granted
let arrivals = [];       // {at, n} of the updates since then, newest last
let marked = false;      // the gateway says what updates stand for

/* The segment before a sample is drawn when it is as long as the rate, now or
 * before, lets it be. */
const take = {
  "host:cpu"(d) {
    series.cpu.push(d.t, d.total, interval);
    charts.cores.push(d.t, d.cores, interval);
  },
  "host:mem"(d) {
    series.mem.push(d.t, (100 * d.used) / d.total, interval);
  },
  "host:net"(d) {
    series.rx.push(d.t, d.rx, interval);
    series.tx.push(d.t, d.tx, interval);
  },
  "host:disk"(d) {
    series.read.push(d.t, d.read, interval);
    series.write.push(d.t, d.write, interval);
  },
};

const chosenRate = () => Number($("pace").querySelector(":checked").value);
const wantedRate = () => (document.hidden ? HIDDEN_RATE : chosenRate());

const channels = Object.fromEntries(Object.keys(take).map((c) => [c, wantedRate()]));
const stream = new LiveStream(channels, {
  onData(channel, data, tags) {
    const now = performance.now();
    arrivals.push({ at: now, n: Number(tags?.n ?? 1) });
    marked ||= tags?.n !== undefined;
    latest[channel] = data;
    playhead.see(data.t, now);
    take[channel]?.(data);
  },
  onGrant(granted) {
    const rate = granted["host:cpu"]?.rate ?? 0;
    interval = rate ? 1000 / rate : 0;
    since = performance.now();
    arrivals = [];
    put("granted", rate ? rate + " /s" : "all");
  },
  onState(state, words, self) {
    showState($("state"), state, words);
    document.body.classList.toggle("stale", state !== "live");
    $("reconnects").textContent = Math.max(0, self.opened - 1);
  },
});

function put(id, text) {
  const node = $(id);
  if (node.textContent !== text)
    node.textContent = text;
}

function putSpeed(id, value) {
  const [number, unit] = speed(value);
  put(id, number);
  put(id + "-unit", unit);
}

function fill(id, share) {
  $(id).style.transform = "translateX(" + (share * 100 - 100).toFixed(1) + "%)";
}

const write = {
  "host:cpu"(d) {
    put("host", d.host || "This host");
    put("cpu-total", d.total.toFixed(1));
    put("cpu-note", "peak " + percent(series.cpu.peak(d.t - WINDOW_MS)));
    put("cores-note", d.cores.length + (d.cores.length === 1 ? " core" : " cores"));
    put("load", d.load[0].toFixed(2));
    put("uptime", duration(d.uptime));
  },
  "host:mem"(d) {
    const [number, unit] = size(d.used);
    put("mem-used", number);
    put("mem-unit", unit + " of " + size(d.total).join(" "));
    put("mem-note", size(d.cached).join(" ") + " cached");
    fill("mem-gauge", d.used / d.total);
  },
  "host:net"(d) {
    putSpeed("net-in", d.rx);
    putSpeed("net-out", d.tx);
    put("net-note", "loopback " + speed(d.lo).join(" "));
  },
  "host:disk"(d) {
    putSpeed("disk-in", d.read);
    putSpeed("disk-out", d.write);
    put("disk-note", size(d.fs_used).join(" ") + " of " + size(d.fs_total).join(" "));
  },
};

function writePace() {
  const now = performance.now();
  const window = Math.max(RATE_MS, RATE_TURNS * interval);
  while (arrivals.length && arrivals[0].at < now - window)
    arrivals.shift();
  const seconds = Math.min(window, Math.max(RATE_MS, now - since)) / 1000;
  const rate = arrivals.length / seconds;
  put("rate", rate.toFixed(rate && rate < 10 ? 1 : 0));
  if (!marked || !arrivals.length)
    return;
  const mean = arrivals.reduce((sum, { n }) => sum + n, 0) / arrivals.length;
  put("stands", mean.toFixed(mean < 10 ? 1 : 0));
}

function writeNumbers() {
  writePace();
  for (const [channel, data] of Object.entries(latest))
    write[channel]?.(data);
  if (latest["host:cpu"])
    put("story", stream.state === "live"
      ? "Read from /proc, drawn as it arrives"
      : "Last reading at " + new Date(latest["host:cpu"].t).toLocaleTimeString());
}

$("pace").onchange = () => stream.setRate(wantedRate());
document.addEventListener("visibilitychange", () => stream.setRate(wantedRate()));

setInterval(writeNumbers, TEXT_MS);
animate((now) => {
  const head = playhead.at(now);
  for (const chart of Object.values(charts))
    chart.draw(head);
});
