/* chat.js — the lobby.
 *
 * A message carries an id of its own. It is shown at once as pending, is sent
 * when there is a connection, and becomes "sent" when the server says so. If
 * the connection breaks in between, nobody knows whether it went out: it is
 * sent again with the same id, and every page shows an id once.
 * Whatever others write reaches the page by textContent only.
 */

import { WeirClient } from "./weir-client.js";
import { showState } from "./words.js";

const $ = (id) => document.getElementById(id);
const CHANNEL = "chat:lobby";
const LINES_MAX = 300; // older ones leave the page
const SEEN_MAX = 2000;
const FOLLOW_MS = 120000;
const NEAR_END_PX = 120;   // closer than this, the list follows what is new
const NAME_MAX = 32;
const TEXT_MAX = 2000;

const seen = new Set();    // ids on the page, oldest first
const pending = new Map(); // own messages without an answer: id -> line
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const client = new WeirClient(scheme + "//" + location.host + "/connection/websocket", "weir-chat");

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function remember(id) {
  seen.add(id);
  if (seen.size > SEEN_MAX)
    seen.delete(seen.values().next().value);
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
let previous = { key: "", at: 0 };
let atEnd = true; // as the reader left it; whoever reads up there stays there

/* To be called after whatever makes the list taller. */
function keepEnd() {
  if (atEnd)
    box.scrollTop = box.scrollHeight;
}

function append(line) {
  $("talk").append(line);
  while ($("talk").children.length > LINES_MAX)
    $("talk").firstElementChild.remove();
  atEnd ||= line.classList.contains("mine");
  keepEnd();
}

function showEvent(text) {
  previous = { key: "", at: 0 };
  append(node("li", "event", text));
}

function showMessage({ name, text }, mine) {
  const line = node("li", mine ? "mine" : "", "");
  const at = new Date();
  const key = (mine ? "me:" : "they:") + name;
  if (previous.key === key && at - previous.at < FOLLOW_MS)
    line.classList.add("follows");
  previous = { key, at };
  const face = node("span", "face", [...name][0].toUpperCase());
  face.style.setProperty("--hue", hue(name));
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  line.append(face, node("span", "who", mine ? time : name + " · " + time));
  line.append(node("span", "text", text));
  append(line);
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

function onPublication(data, info) {
  if (typeof data?.text !== "string" || !data.text.trim())
    return;
  const id = typeof data.id === "string" ? data.id : randomId();
  if (seen.has(id)) {
    if (info?.client === client.client)
      confirm(id);
    return;
  }
  remember(id);
  const name = typeof data.name === "string" ? data.name.trim().slice(0, NAME_MAX) : "";
  showMessage({ name: name || "Somebody", text: data.text.slice(0, TEXT_MAX) }, false);
}

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
  const message = { id: randomId(), name, text };
  remember(message.id);
  $("words").value = "";
  send(message, showMessage(message, true));
};

client.onState = (state, words) => {
  showState($("state"), state, words);
  if (state === "live")
    for (const { message, line } of [...pending.values()])
      send(message, line);
};
client.subscribe(CHANNEL, {
  onPublication,
  onError: (error) => showEvent("The gateway refuses the lobby: " + error.message),
});
client.connect();
