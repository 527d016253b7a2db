/* stream.js — a plain EventSource on /sse that stays open and says honestly
 * how it is doing.
 *
 * EventSource reconnects by itself when a stream breaks, but gives up for ever
 * on an HTTP error (a gateway that starts, a proxy's 502): then it is opened
 * anew here, with full-jitter backoff. A stream that is open but silent is not
 * called live.
 */

const QUIET_MS = 3000;     // open without data for this long is not "live"
const REOPEN_MS = 60000;   // a silent stream may be a dead connection
const BACKOFF_MS = [500, 10000];

export class LiveStream {
  /* onData(channel, data), onState(state, words, this), with state one
   * of connecting, live, quiet, waiting (for the next try), closed. */
  constructor(channels, { onData, onState, path = "/sse" }) {
    const query = channels.map((c) => "channel=" + encodeURIComponent(c));
    this.url = path + "?" + query.join("&");
    this.onData = onData;
    this.onState = onState;
    this.opened = 0;
    this.failures = 0;
    this.timer = null;
    this.reason = "";
    this.open();
    setInterval(() => this.watch(), 500);
    addEventListener("online", () => this.retryNow());
  }

  open() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.source)
      this.source.close();
    const source = new EventSource(this.url);
    this.source = source;
    this.heard = performance.now();
    this.say("connecting", this.opened ? "Reconnecting" : "Connecting");
    source.onopen = () => this.onOpen();
    source.onmessage = (event) => this.onEvent(event);
    source.onerror = () => this.onError();
    source.addEventListener("disconnect", (event) => this.onGoodbye(event));
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
    this.onData(message.channel, message.data);
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
    if (this.source.readyState !== EventSource.OPEN || silent < QUIET_MS)
      return;
    if (silent > REOPEN_MS)
      this.open();
    else
      this.say("quiet", "No data for " + Math.floor(silent / 1000) + " s");
  }

  say(state, words) {
    if (state === this.state && words === this.words)
      return;
    this.state = state;
    this.words = words;
    this.onState(state, words, this);
  }
}
