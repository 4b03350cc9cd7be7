// Keeps the page up to date: the status every second, events as they come, the ring when it changes.

import * as actions from "./actions.js";
import * as api from "./api.js";
import { byId } from "./element.js";
import { followEvents, loadDeaths, stopEvents } from "./history.js";
import { loadHeartbeats, trimHeartbeats } from "./heartbeats.js";
import { showLoad } from "./load.js";
import { showMaintenance } from "./maintenance.js";
import { showPause } from "./pause.js";
import { showReplicas } from "./replicas.js";
import { showRollout } from "./rollout.js";
import { drawRing, explainKey } from "./ring.js";
import { askToLogIn, identify, isLoggedOut, startSession } from "./session.js";

const STALE_AFTER_MS = 4000;
const POLL_MS = 1000;

let lastAnswer = 0;
let shares = new Map();
let epoch = null;
let hasMetrics = true;
let startedAt = null;
let polls = 0;
/// Counts the starts of the page: what an earlier one has asked for is no longer shown.
let run = 0;
let timer = null;

function verdict(fleet) {
  const [ready, desired] = [fleet.ready_replicas, fleet.desired_replicas];
  const ejected = fleet.replicas.filter((replica) => replica.ejected).length;
  const drained = fleet.replicas.filter((replica) => replica.drained).length;
  const place = byId("verdict");
  if (fleet.maintenance) {
    place.textContent = "Maintenance: every request is answered with 503";
    place.className = "warn";
  } else if (fleet.pause) {
    place.textContent = "Paused: requests wait";
    place.className = "warn";
  } else if (desired === 0 && fleet.scaling) {
    place.textContent = "Scaled to zero: the next request starts a replica";
    place.className = "warn";
  } else if (ready === 0) {
    place.textContent = "Nobody is served: no replica is ready";
    place.className = "bad";
  } else if (ready < desired || ejected > 0 || fleet.runtime.last_error) {
    const trouble = fleet.runtime.last_error ? `; ${fleet.runtime.kind}: ${fleet.runtime.last_error}` : "";
    place.textContent = `Served by ${ready} of ${desired} replicas${ejected ? `, ${ejected} ejected` : ""}${drained ? `, ${drained} drained` : ""}${trouble}`;
    place.className = "warn";
  } else {
    place.textContent = `All is well: ${ready} of ${desired} replicas are ready`;
    place.className = "good";
  }
}

async function metrics() {
  if (!hasMetrics) return null;
  try {
    return await api.metrics();
  } catch (error) {
    // An older balancer has none.
    hasMetrics = error.status !== 404;
    return null;
  }
}

async function refresh() {
  const [status, text] = await Promise.all([api.status(), metrics(), loadHeartbeats()]);
  // Another balancer counts its events anew.
  if (startedAt && startedAt !== status.started_at) location.reload();
  startedAt = status.started_at;
  followEvents();
  const fleet = status.fleets[0];
  lastAnswer = Date.now();
  byId("version").textContent = `Ringmaster ${status.version}, running since ${new Date(status.started_at).toLocaleString()}`;
  verdict(fleet);
  if (fleet.epoch !== epoch) {
    shares = await drawRing();
    epoch = fleet.epoch;
  }
  const now = Date.parse(status.now);
  showMaintenance(fleet.maintenance);
  showPause(fleet.pause, now);
  showRollout(fleet.rollout);
  showLoad(status, fleet, text);
  trimHeartbeats(fleet.replicas, now);
  showReplicas(fleet, shares, now);
}

function showFreshness() {
  const age = Date.now() - lastAnswer;
  const place = byId("freshness");
  const isStale = lastAnswer > 0 && age > STALE_AFTER_MS;
  place.classList.toggle("stale", isStale);
  if (lastAnswer === 0) place.textContent = "not connected";
  else place.textContent = isStale ? `no answer for ${Math.round(age / 1000)} s: what you see is old` : "live";
}

/// The next refresh follows the last one's end, so that a slow balancer is not asked twice.
async function poll() {
  const own = run;
  try {
    await identify();
    // What is known of a death grows for a while.
    if (polls % 5 === 0) loadDeaths().catch(() => {});
    polls += 1;
    await refresh();
  } catch (error) {
    if (own !== run) return;
    if (isLoggedOut(error)) {
      stop();
      askToLogIn();
    } else if (error.status === 403) {
      byId("verdict").textContent = error.message;
    }
  }
  if (own === run) timer = setTimeout(poll, POLL_MS);
}

function stop() {
  run += 1;
  clearTimeout(timer);
  lastAnswer = 0;
  stopEvents();
}

byId("explain").addEventListener("submit", explainKey);
byId("add").addEventListener("click", actions.add);
byId("scale").addEventListener("click", actions.scale);
// A balancer that hangs leaves a call open for longer than the page is fresh.
setInterval(showFreshness, 500);
startSession(poll, stop);
