/* weir-client.js — a small client of the gateway's WebSocket protocol (JSON).
 *
 * It keeps one connection up: connect and every subscription leave in the
 * first frame, pings are answered, silence is noticed, and after a break it
 * comes back with full-jitter backoff unless the server said not to.
 *
 *   const client = new WeirClient("ws://host/connection/websocket");
 *   client.onState = (state, words) => ...  // connecting, live, waiting, closed
 *   client.subscribe("chat:lobby", { onPublication: (data, info) => ... });
 *   client.connect();
 *   await client.publish("chat:lobby", { text: "hi" });
 *
 * In a throttled namespace a subscription may ask for a rate, and for another
 * one later; what was granted is told:
 *
 *   client.subscribe("ticker:quotes", { data: { rate: 2 }, onPublication, onSubscribed });
 *   const granted = await client.throttle("ticker:quotes", { rate: 0.2 });
 *
 * Where the server keeps history, a subscription may recover: it remembers its
 * position, and what was missed comes with the next subscribe. When that could
 * not be done, result.recovered is missing, and history() may help:
 *
 *   client.subscribe("chat:lobby", { recover: true, onPublication, onSubscribed });
 *   const { publications } = await client.history("chat:lobby", { limit: 50, reverse: true });
 */

const BACKOFF_MS = [500, 20000];
const OPEN_TIMEOUT_MS = 5000;
const REPLY_TIMEOUT_MS = 5000;
const PING_GRACE_MS = 10000;

export class WeirError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const isTerminal = (code) =>
  (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000) || code === 1009;

export function backoff(attempt) {
  return Math.random() * Math.min(BACKOFF_MS[1], BACKOFF_MS[0] * 2 ** attempt);
}

export class WeirClient {
  constructor(url, name = "weir-client") {
    this.url = url;
    this.name = name;
    this.client = ""; // our id, given by the server
    this.state = "closed";
    this.onState = () => {};
    this.subscriptions = new Map(); // channel -> handlers
    this.calls = new Map();         // command id -> {done, fail, timer}
    this.lastId = 0;
    this.attempts = 0;
    addEventListener("online", () => this.state === "waiting" && this.open());
  }

  connect() {
    if (this.state === "closed")
      this.open();
  }

  disconnect() {
    this.leave("closed", "Closed");
  }

  /* handlers: onPublication(data, info, channel, tags, position);
   * onSubscribed(result, asked, from) after every subscribe; onError(error)
   * when the server refuses for good. The publications of a result, the state
   * at the subscribe or what was missed, go to onSnapshot, or to onPublication
   * without one, before onSubscribed. handlers.data goes with every subscribe;
   * `asked` is what went. With handlers.recover positions are kept, as
   * { epoch, offset }: `from` is the one to recover from, `position` that of a
   * publication; both are undefined where the server gave none. */
  subscribe(channel, handlers) {
    this.subscriptions.set(channel, { ...handlers });
    if (this.state === "live")
      this.write([this.subscribeCommand(channel)]);
  }

  unsubscribe(channel) {
    if (this.subscriptions.delete(channel) && this.state === "live")
      this.call("unsubscribe", { channel }).catch(() => {});
  }

  /* Resolves when the server has taken it; rejects with a WeirError: the
   * server's code when it refuses, 0 when there is no connection or it breaks
   * before the answer. */
  publish(channel, data) {
    return this.call("publish", { channel, data });
  }

  /* Resolves to { publications, epoch, offset }; rejects as publish does.
   * options: limit; since, a position; reverse, the newest come first. */
  history(channel, options) {
    return this.call("history", { channel, ...options }).then((reply) => reply.history);
  }

  /* Resolves to the data of the answer; rejects as publish does. */
  rpc(method, data) {
    return this.call("rpc", { method, data }).then((reply) => reply.rpc.data);
  }

  /* Asks for another rate or mode; resolves to what was granted. Kept for the
   * next connection, whatever becomes of this request. */
  throttle(channel, wish) {
    const handlers = this.subscriptions.get(channel);
    if (handlers)
      handlers.data = { ...handlers.data, ...wish };
    return this.rpc("weir.throttle", { channel, ...wish });
  }

  call(verb, body) {
    if (this.state !== "live")
      return Promise.reject(new WeirError(0, "not connected"));
    return new Promise((done, fail) => this.write([this.command(verb, body, done, fail)]));
  }

  command(verb, body, done, fail) {
    const id = ++this.lastId;
    const timer = setTimeout(() => this.drop("No answer, reconnecting"), REPLY_TIMEOUT_MS);
    this.calls.set(id, { done, fail, timer });
    return { [verb]: body, id };
  }

  write(commands) {
    this.socket.send(commands.map((c) => JSON.stringify(c)).join("\n"));
  }

  /* ---- the connection -------------------------------------------------- */

  open() {
    clearTimeout(this.retryTimer);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.say("connecting", this.attempts ? "Reconnecting" : "Connecting");
    this.expect(OPEN_TIMEOUT_MS);
    const mine = (handler) => (event) => this.socket === socket && handler(event);
    socket.onopen = mine(() => this.greet());
    socket.onmessage = mine((event) => this.onFrame(event.data));
    socket.onclose = mine((event) => this.onClose(event));
  }

  greet() {
    const hello = this.command(
      "connect",
      { name: this.name },
      (reply) => this.onConnected(reply.connect),
      (error) => error.code && this.drop("Refused, trying again"),
    );
    const channels = [...this.subscriptions.keys()];
    this.write([hello, ...channels.map((c) => this.subscribeCommand(c))]);
  }

  onConnected({ client, ping, pong }) {
    this.client = client;
    this.pong = pong;
    this.silenceMs = ping ? ping * 1000 + PING_GRACE_MS : 0;
    this.expect(this.silenceMs);
    this.attempts = 0;
    this.say("live", "Connected");
  }

  onFrame(text) {
    if (this.state === "live")
      this.expect(this.silenceMs);
    const socket = this.socket;
    for (const line of text.trim().split("\n")) {
      if (this.socket !== socket)
        return; // a handler ended this connection
      const reply = JSON.parse(line);
      if (reply.id)
        this.onReply(reply);
      else if (reply.push)
        this.onPush(reply.push);
      else if (this.pong)
        socket.send("{}");
    }
  }

  onReply(reply) {
    const call = this.calls.get(reply.id);
    if (!call)
      return;
    this.calls.delete(reply.id);
    clearTimeout(call.timer);
    if (reply.error)
      call.fail(new WeirError(reply.error.code, reply.error.message));
    else
      call.done(reply);
  }

  onPush({ channel, pub, unsubscribe }) {
    if (pub)
      this.deliver(channel, pub, "onPublication");
    else if (unsubscribe && unsubscribe.code >= 2500)
      this.resubscribe(channel, 0);
    else if (unsubscribe)
      this.giveUp(channel, new WeirError(unsubscribe.code, unsubscribe.reason));
  }

  onClose({ code, reason }) {
    if (isTerminal(code))
      this.leave("closed", "Closed: " + (reason || code));
    else
      this.drop("Reconnecting");
  }

  /* ---- subscriptions --------------------------------------------------- */

  subscribeCommand(channel, attempt = 0) {
    const retry = (error) => {
      if (error.code === 0)
        return; // the next connection subscribes anew
      if (error.code === 100 || error.code === 111)
        this.resubscribe(channel, attempt + 1);
      else
        this.giveUp(channel, error);
    };
    const { data, recover, position } = this.subscriptions.get(channel);
    const wish = { channel, data };
    if (recover)
      wish.recoverable = true;
    if (position)
      Object.assign(wish, position, { recover: true });
    const done = (reply) => this.onSubscribed(channel, reply.subscribe, data, position);
    return this.command("subscribe", wish, done, retry);
  }

  onSubscribed(channel, result, asked, from) {
    const handlers = this.subscriptions.get(channel);
    if (!handlers)
      return;
    const { recoverable, epoch = "", offset = 0 } = result;
    handlers.position = handlers.recover && recoverable ? { epoch, offset } : undefined;
    for (const pub of result.publications ?? [])
      this.deliver(channel, pub, handlers.onSnapshot ? "onSnapshot" : "onPublication");
    handlers.onSubscribed?.(result, asked, from);
  }

  /* The first publication of a stream says its epoch; one that is not kept in
   * history has no offset and moves no position. */
  deliver(channel, pub, handler) {
    const handlers = this.subscriptions.get(channel);
    const last = handlers?.position;
    const position = last && pub.offset
      ? { epoch: pub.epoch || last.epoch, offset: pub.offset }
      : undefined;
    if (position && position.offset > last.offset)
      handlers.position = position;
    handlers?.[handler]?.(pub.data, pub.info, pub.channel ?? channel, pub.tags, position);
  }

  resubscribe(channel, attempt) {
    const socket = this.socket;
    setTimeout(() => {
      if (this.socket === socket && this.state === "live" && this.subscriptions.has(channel))
        this.write([this.subscribeCommand(channel, attempt)]);
    }, backoff(attempt));
  }

  giveUp(channel, error) {
    const handlers = this.subscriptions.get(channel);
    this.subscriptions.delete(channel);
    handlers?.onError?.(error);
  }

  /* ---- endings --------------------------------------------------------- */

  /* A deadline for the next frame: the open, or the next ping. */
  expect(ms) {
    clearTimeout(this.silenceTimer);
    if (ms)
      this.silenceTimer = setTimeout(() => this.drop("No answer, reconnecting"), ms);
  }

  drop(words) {
    this.leave("waiting", words);
    this.retryTimer = setTimeout(() => this.open(), backoff(this.attempts++));
  }

  leave(state, words) {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    clearTimeout(this.silenceTimer);
    clearTimeout(this.retryTimer);
    this.say(state, words);
    const calls = [...this.calls.values()];
    this.calls.clear();
    for (const call of calls) {
      clearTimeout(call.timer);
      call.fail(new WeirError(0, "connection lost"));
    }
  }

  say(state, words) {
    this.state = state;
    this.onState(state, words);
  }
}
