/* stream.js — a plain EventSource on /sse that stays open and says honestly
 * how it is doing.
 *
 * EventSource reconnects by itself when a stream breaks, but gives up for ever
 * on an HTTP error (a gateway that starts, a proxy's 502): then it is opened
 * anew here, with full-jitter backoff. A stream that is open but silent is not
 * called live.
 *
 * How often a channel may come is a wish: the stream's address carries the one
 * of the first channel, a POST to the stream's session every other and every
 * later one. Each new stream is a new session and is told again what differs
 * from its address.
 */

const QUIET_MS = 3000;     // open without data for this long is not "live"
const QUIET_TURNS = 2.5;   // or this many intervals of a slow rate
const REOPEN_MS = 60000;   // a silent stream may be a dead connection
const BACKOFF_MS = [500, 10000];
const TELL_AGAIN_MS = 1000;

export class LiveStream {
  /* channels: {name: rate}, a rate undefined where the namespace decides.
   * onData(channel, data, tags); onState(state, words, this), with state one
   * of connecting, live, quiet, waiting (for the next try), closed;
   * onGrant({name: {rate, mode}}) when the gateway says what it grants. */
  constructor(channels, { onData, onState, onGrant = () => {}, path = "/sse" }) {
    this.wishes = new Map(Object.entries(channels));
    this.path = path;
    this.onData = onData;
    this.onState = onState;
    this.onGrant = onGrant;
    this.opened = 0;
    this.failures = 0;
    this.timer = null;
    this.reason = "";
    this.granted = {};
    this.told = new Map(); // what this stream's session knows of the wishes
    this.open();
    setInterval(() => this.watch(), 500);
    addEventListener("online", () => this.retryNow());
  }

  /* From now on every channel is wanted at that rate; 0 is as fast as may be. */
  setRate(rate) {
    for (const channel of this.wishes.keys())
      this.wishes.set(channel, rate);
    this.tell();
  }

  open() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.source)
      this.source.close();
    this.session = null;
    const source = new EventSource(this.address());
    this.source = source;
    this.heard = performance.now();
    this.say("connecting", this.opened ? "Reconnecting" : "Connecting");
    source.onopen = () => this.onOpen();
    source.onmessage = (event) => this.onEvent(event);
    source.onerror = () => this.onError();
    source.addEventListener("session", (event) => this.onSession(event));
    source.addEventListener("disconnect", (event) => this.onGoodbye(event));
  }

  /* The channels that want what the first one wants; the others follow. */
  address() {
    const [first] = this.wishes.values();
    this.asked = new Map([...this.wishes].filter(([, rate]) => rate === first));
    const query = [...this.asked.keys()].map((c) => "channel=" + encodeURIComponent(c));
    if (first !== undefined)
      query.push("rate=" + first);
    return this.path + "?" + query.join("&");
  }

  onOpen() {
    this.opened++;
    this.failures = 0;
    this.reason = "";
    this.heard = performance.now();
    this.say("quiet", "Connected");
  }

  onEvent(event) {
    let message;
    try {
      message = JSON.parse(event.data);
    } catch {
      return;
    }
    this.heard = performance.now();
    this.say("live", "Live");
    this.onData(message.channel, message.data, message.tags);
  }

  /* The server says why before it ends a stream; 3500-3999 and 4500-4999
   * mean: do not come back. */
  onGoodbye(event) {
    let code = 0;
    try {
      ({ code, reason: this.reason } = JSON.parse(event.data));
    } catch {
      this.reason = "";
    }
    if ((code >= 3500 && code < 4000) || (code >= 4500 && code < 5000)) {
      this.source.close();
      this.closed = true;
      this.say("closed", "Closed: " + (this.reason || code));
    }
  }

  onError() {
    if (this.closed)
      return;
    this.session = null;
    if (this.source.readyState === EventSource.CONNECTING) {
      this.say("waiting", this.opened ? "Reconnecting" : "Connecting");
      return;
    }
    const most = Math.min(BACKOFF_MS[1], BACKOFF_MS[0] * 2 ** this.failures++);
    const delay = BACKOFF_MS[0] / 2 + Math.random() * most;
    this.timer = setTimeout(() => this.open(), delay);
    this.say("waiting", "Refused, trying again");
  }

  retryNow() {
    if (!this.closed && this.source.readyState !== EventSource.OPEN)
      this.open();
  }

  watch() {
    const silent = performance.now() - this.heard;
    if (this.source.readyState !== EventSource.OPEN || silent < this.patience())
      return;
    if (silent > REOPEN_MS)
      this.open();
    else
      this.say("quiet", "No data for " + Math.floor(silent / 1000) + " s");
  }

  /* The fastest channel is the sign of life. */
  patience() {
    const waits = Object.values(this.granted).map(({ rate }) => (rate ? 1000 / rate : 0));
    return Math.max(QUIET_MS, waits.length && QUIET_TURNS * Math.min(...waits));
  }

  /* ---- the session ----------------------------------------------------- */

  onSession(event) {
    const { session, channels } = JSON.parse(event.data);
    this.session = session;
    this.told = new Map(this.asked);
    this.take(channels);
    this.tell();
  }

  take(channels) {
    this.granted = channels;
    this.heard = performance.now(); // a slower rate was quiet for good reason
    this.onGrant(channels);
  }

  /* One request at a time; wishes that change meanwhile go with the next. */
  async tell() {
    const news = [...this.wishes].filter(
      ([channel, rate]) => !this.told.has(channel) || this.told.get(channel) !== rate);
    if (!this.session || this.telling || !news.length)
      return;
    this.telling = true;
    const { session } = this;
    const wish = (rate) => (rate === undefined ? {} : { rate });
    const channels = Object.fromEntries(news.map(([channel, rate]) => [channel, wish(rate)]));
    const answer = await this.post(session, { channels });
    this.telling = false;
    if (answer && session === this.session) {
      news.forEach(([channel, rate]) => this.told.set(channel, rate));
      this.take(answer.channels);
    }
    if (answer || session !== this.session)
      this.tell();
    else
      setTimeout(() => this.tell(), TELL_AGAIN_MS);
  }

  /* The answer, or null: too many changes, a node that does not answer, a
   * connection that breaks. A session that is gone gives null too: its stream
   * is about to break, and the next one brings a session of its own. The
   * request outlives the page being put away. */
  async post(session, body) {
    try {
      const answer = await fetch(this.path + "/" + encodeURIComponent(session), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        keepalive: true,
      });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  say(state, words) {
    if (state === this.state && words === this.words)
      return;
    this.state = state;
    this.words = words;
    this.onState(state, words, this);
  }
}
