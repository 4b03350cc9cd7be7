// Events as they come, and deaths with what is known of them.

import * as api from "./api.js";
import { byId, html, reconcile } from "./element.js";
import { clock } from "./format.js";

const MAX_EVENTS = 300;
const events = new Map();

const GOOD = new Set(["ready", "readmitted", "joined", "activated", "recovered", "rollout_done"]);
const BAD = new Set(["evicted", "unready", "ejected", "degraded", "rollout_rolling_back"]);
const eventTone = (kind) => (GOOD.has(kind) ? "good" : BAD.has(kind) ? "bad" : "");

function show() {
  const newest = [...events.values()].sort((a, b) => b.id - a.id).slice(0, MAX_EVENTS);
  for (const id of events.keys()) if (id < newest[newest.length - 1].id) events.delete(id);
  reconcile(byId("event-list"), newest, (event) => String(event.id), (event) => {
    const generation = event.generation === null ? "" : `, generation\u00a0${event.generation}`;
    return html("li", {},
      html("time", { datetime: event.at }, clock(event.at)),
      html("span", {}, html("strong", {}, event.replica || ""), " ",
        html("span", { class: `chip ${eventTone(event.event)}` }, event.event.replaceAll("_", " ")),
        html("span", { class: "muted" }, generation), event.reason ? ` – ${event.reason}` : ""));
  });
}

let stream = null;
let isShowDue = false;

/// Follows the events from the first that the balancer remembers, unless that goes on already. The
/// browser reconnects by itself and says which event it had last.
export function followEvents() {
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource("/api/v1/events?after=0");
  stream.onmessage = (message) => {
    const event = JSON.parse(message.data);
    events.set(event.id, event);
    if (isShowDue) return;
    isShowDue = true;
    setTimeout(async () => {
      isShowDue = false;
      show();
      await loadDeaths().catch(() => {});
    }, 50);
  };
}

/// Stops following events.
export function stopEvents() {
  stream?.close();
  stream = null;
}

function death(death) {
  const what = [
    death.hint && html("p", {}, html("strong", {}, "Hint: "), death.hint),
    death.requests.length > 0 && [
      html("p", {}, "Requests that it had when it died:"),
      html("ul", {}, death.requests.map((request) =>
        html("li", {}, html("code", {}, `${request.method} ${request.path}`), ` after ${request.elapsed_ms} ms: ${request.outcome}`))),
    ],
    html("p", {}, death.log.length ? "Its last lines:" : "It printed nothing."),
    death.log.length > 0 && html("pre", { tabindex: 0 }, death.log.join("\n")),
  ];
  return html("details", {},
    html("summary", {}, html("time", { datetime: death.at }, clock(death.at)), " ", html("strong", {}, death.replica),
      ` generation ${death.generation}: ${death.cause}`,
      death.in_flight ? html("span", { class: "muted" }, `, ${death.in_flight} requests in flight`) : ""),
    what);
}

export async function loadDeaths() {
  const deaths = (await api.deaths()).items.toReversed();
  const place = byId("death-list");
  if (!deaths.length) {
    place.replaceChildren(html("p", { class: "muted" }, "None since the balancer started."));
    return;
  }
  // What is known of a death grows: its last lines come later than its event.
  const key = (item) => `${item.id}/${item.cause}/${item.log.length}/${item.requests.length}`;
  reconcile(place, deaths, key, death);
}
