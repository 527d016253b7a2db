/* chat.js — the lobby.
 *
 * A message carries an id of its own. It is shown at once as pending, is sent
 * when there is a connection, and becomes "sent" when the server says so. If
 * the connection breaks in between, nobody knows whether it went out: it is
 * sent again with the same id, and every page shows an id once.
 * On load the history is shown. What is missed while the connection is away
 * comes by recovery; where the server cannot, the history is asked again, and
 * if that does not reach back to what was heard last, the page says so.
 * Whatever others write reaches the page by textContent only.
 */

import { WeirClient, backoff } from "./weir-client.js";
import { showState } from "./words.js";

const $ = (id) => document.getElementById(id);
const CHANNEL = "chat:lobby";
const LINES_MAX = 300; // older ones leave the page
const HISTORY = 50;
const SEEN_MAX = 2000;
const FOLLOW_MS = 120000;
const NEAR_END_PX = 120;   // closer than this, the list follows what is new
const NAME_MAX = 32;
const TEXT_MAX = 2000;
const AGE_MAX_MS = 7 * 86400000; // a time in a message beyond these is none
const AHEAD_MAX_MS = 300000;

const seen = new Map();    // key of a message -> its line, oldest first
const pending = new Map(); // own messages without an answer: id -> line
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const client = new WeirClient(scheme + "//" + location.host + "/connection/websocket", "weir-chat");

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/* What a message is known by: its id, or its place in the channel. */
function keyOf(data, position) {
  if (typeof data.id === "string")
    return "id:" + data.id;
  return position ? "at:" + position.epoch + ":" + position.offset : "none:" + randomId();
}

function remember(key, line) {
  seen.set(key, line);
  if (seen.size > SEEN_MAX)
    seen.delete(seen.keys().next().value);
}

function node(tag, className, text) {
  const n = document.createElement(tag);
  n.className = className;
  n.textContent = text;
  return n;
}

function hue(name) {
  let h = 7;
  for (const c of name)
    h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

/* ---- the list ----------------------------------------------------------- */

const box = $("scroll");
let atEnd = true; // as the reader left it; whoever reads up there stays there

/* To be called after whatever makes the list taller. */
function keepEnd() {
  if (atEnd)
    box.scrollTop = box.scrollHeight;
}

/* Without a line `below` it comes last. */
function place(line, below) {
  if (below)
    below.before(line);
  else
    $("talk").append(line);
  group(line);
  group(line.nextElementSibling);
  while ($("talk").children.length > LINES_MAX)
    $("talk").firstElementChild.remove();
  atEnd ||= line.classList.contains("mine");
  keepEnd();
}

/* A line soon after another of the same author has no head of its own; nor
 * does one of two without a time. */
function group(line) {
  const above = line?.previousElementSibling;
  const isSame = above?.author !== undefined && above.author === line.author;
  const isSoon = isSame && (above.at === line.at || Math.abs(line.at - above.at) < FOLLOW_MS);
  line?.classList.toggle("follows", isSoon);
}

/* Once, however often it happens. */
function showEvent(text, below) {
  const above = below ? below.previousElementSibling : $("talk").lastElementChild;
  if (above?.textContent !== text)
    place(node("li", "event", text), below);
}

/* The time a message says it is from, if that can be. */
function saidAt(data) {
  const at = data?.at;
  const age = Date.now() - at;
  return typeof at === "number" && age < AGE_MAX_MS && age > -AHEAD_MAX_MS ? at : undefined;
}

function timeWords(at) {
  if (at === undefined)
    return "";
  const time = new Date(at);
  const isToday = time.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { weekday: "short" };
  return time.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
}

/* `at` is undefined where the time is not known. */
function showMessage({ name, text }, at, mine, below) {
  const line = node("li", mine ? "mine" : "", "");
  line.author = (mine ? "me:" : "they:") + name;
  line.at = at;
  const face = node("span", "face", [...name][0].toUpperCase());
  face.style.setProperty("--hue", hue(name));
  const head = [mine ? "" : name, timeWords(at)].filter(Boolean).join(" · ");
  line.append(face, node("span", "who", head));
  line.append(node("span", "text", text));
  place(line, below);
  return line;
}

function showFate(line, fate, words, action) {
  let label = line.querySelector(".fate");
  if (!label)
    line.append((label = node("span", "fate", "")));
  line.dataset.fate = fate;
  label.textContent = words;
  if (action) {
    const button = node("button", "", "Try again");
    button.type = "button";
    button.onclick = action;
    label.append(button);
  }
  keepEnd();
}

/* ---- sending ------------------------------------------------------------ */

async function send(message, line) {
  pending.set(message.id, { message, line });
  showFate(line, "pending", client.state === "live" ? "Sending" : "Waiting for the connection");
  if (client.state !== "live")
    return;
  try {
    await client.publish(CHANNEL, message);
    confirm(message.id);
  } catch (error) {
    if (error.code) {
      pending.delete(message.id);
      showFate(line, "failed", "Not sent: " + error.message, () => send(message, line));
    } else if (pending.has(message.id)) {
      showFate(line, "pending", "Waiting for the connection");
    }
  }
}

function confirm(id) {
  const own = pending.get(id);
  pending.delete(id);
  if (own)
    showFate(own.line, "sent", "Sent");
}

/* ---- hearing ------------------------------------------------------------ */

/* Shows a message unless it is on the page; its line, if it is one. */
function hear({ data, info }, position, at, below) {
  if (typeof data?.text !== "string" || !data.text.trim())
    return null;
  const key = keyOf(data, position);
  let line = seen.get(key);
  if (!line) {
    const name = typeof data.name === "string" ? data.name.trim().slice(0, NAME_MAX) : "";
    const message = { name: name || "Somebody", text: data.text.slice(0, TEXT_MAX) };
    line = showMessage(message, at, false, below);
    remember(key, line);
  } else if (info?.client === client.client) {
    confirm(data.id);
  }
  line.position = position ?? line.position;
  return line;
}

const onPublication = (data, info, channel, tags, position) =>
  hear({ data, info }, position, Date.now());

const onMissed = (data, info, channel, tags, position) =>
  hear({ data, info }, position, saidAt(data));

/* ---- history ------------------------------------------------------------ */

let joined = false;
let behind = null; // what only history fills in: { isFirst }, or what is after { since }

/* `behind` stays until a history was shown, over any number of connections. */
function onSubscribed(result, asked, from) {
  if (!joined)
    behind = { isFirst: true };
  else if (!result.recovered)
    behind = { since: behind?.since ?? from };
  joined = true;
  if (behind)
    catchUp(behind);
}

async function catchUp(gap, attempt = 0) {
  let history = null;
  try {
    history = await client.history(CHANNEL, { limit: HISTORY, reverse: true });
  } catch (error) {
    if (error.code === 0)
      return; // asked again with the next subscribe
    if (error.code === 100 || error.code === 111) {
      setTimeout(() => behind === gap && catchUp(gap, attempt + 1), backoff(attempt));
      return;
    }
  }
  if (behind !== gap)
    return; // asked again since
  behind = null;
  const oldest = history && fillIn(history);
  if (!gap.isFirst && !(history && reachesBack(history, gap.since)))
    showEvent("Some messages may be missing here", oldest);
  else if (!history)
    showEvent("What was said before cannot be shown");
}

/* Each message of a history, newest first, comes above the next newer one; the
 * newest above what has come since and what is only on its way. The line of
 * the oldest, or null. */
function fillIn({ publications, epoch, offset }) {
  const isNewer = ({ position, classList }) => position
    ? position.epoch === epoch && position.offset > offset
    : classList.contains("mine");
  let below = null;
  let last = $("talk").lastElementChild;
  while (last && isNewer(last)) {
    below = last;
    last = last.previousElementSibling;
  }
  for (const pub of publications) {
    const line = hear(pub, { epoch, offset: pub.offset }, saidAt(pub.data), below);
    if (line?.isConnected)
      below = line;
  }
  return below;
}

/* Is everything after a position in the history? */
const reachesBack = ({ publications, epoch }, since) =>
  since?.epoch === epoch && publications.some((pub) => pub.offset <= since.offset);

/* ---- wiring ------------------------------------------------------------- */

box.onscroll = () => {
  atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX;
};
new ResizeObserver(keepEnd).observe(box); // the keyboard of a phone, a turn

$("name").value = localStorage.getItem("weir-chat-name") ?? "";
$("name").onchange = () => localStorage.setItem("weir-chat-name", $("name").value);

$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("words").value.trim();
  const name = $("name").value.trim() || "Guest";
  if (!text)
    return;
  const message = { id: randomId(), name, text, at: Date.now() };
  const line = showMessage(message, message.at, true);
  remember(keyOf(message), line);
  $("words").value = "";
  send(message, line);
};

client.onState = (state, words) => {
  showState($("state"), state, words);
  if (state === "live")
    for (const { message, line } of [...pending.values()])
      send(message, line);
};
client.subscribe(CHANNEL, {
  recover: true,
  onPublication,
  onSnapshot: onMissed,
  onSubscribed,
  onError: (error) => showEvent("The gateway refuses the lobby: " + error.message),
});
client.connect();
