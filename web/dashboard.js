/* dashboard.js — what hostfeed publishes, as numbers and pictures. */

import { Chart, animate, Playhead, Series } from "./chart.js";
import { Cores } from "./cores.js";
import { LiveStream } from "./stream.js";
import { duration, showState, size, speed } from "./words.js";

const $ = (id) => document.getElementById(id);
const RATE_MS = 1000; // updates a second are counted over this
const WINDOW_MS = 30000;
const TEXT_MS = 200;  // numbers that change faster cannot be read

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

const latest = {};   // the last message of each channel
const arrivals = []; // when updates came, newest last

const take = {
  "host:cpu"(d) {
    series.cpu.push(d.t, d.total);
    charts.cores.push(d.t, d.cores);
  },
  "host:mem"(d) {
    series.mem.push(d.t, (100 * d.used) / d.total);
  },
  "host:net"(d) {
    series.rx.push(d.t, d.rx);
    series.tx.push(d.t, d.tx);
  },
  "host:disk"(d) {
    series.read.push(d.t, d.read);
    series.write.push(d.t, d.write);
  },
};

const stream = new LiveStream(Object.keys(take), {
  onData(channel, data) {
    const now = performance.now();
    arrivals.push(now);
    latest[channel] = data;
    playhead.see(data.t, now);
    take[channel]?.(data);
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

function writeNumbers() {
  const since = performance.now() - RATE_MS;
  while (arrivals.length && arrivals[0] < since)
    arrivals.shift();
  put("rate", String(arrivals.length));
  for (const [channel, data] of Object.entries(latest))
    write[channel]?.(data);
  if (latest["host:cpu"])
    put("story", stream.state === "live"
      ? "Read from /proc, drawn as it arrives"
      : "Last reading at " + new Date(latest["host:cpu"].t).toLocaleTimeString());
}

setInterval(writeNumbers, TEXT_MS);
animate((now) => {
  const head = playhead.at(now);
  for (const chart of Object.values(charts))
    chart.draw(head);
});
