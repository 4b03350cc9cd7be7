// Each replica's heartbeats of the last minutes, as the balancer remembers them.

import * as api from "./api.js";
import { svg } from "./element.js";
import { seconds } from "./format.js";

/// What a strip shows, and how long a heartbeat stands for the state at most.
const STRIP_MS = 4 * 60 * 1000;
const MAX_BAR_MS = 3000;
const WIDTH = 240;
const TONES = { good: "good", bad: "warn", missed: "bad" };

/// By replica, the oldest first: [{at, outcome, latency_ms, generation}].
const past = new Map();
let last = 0;

/// Asks for what has come since.
export async function loadHeartbeats() {
  for (let page = { next: last }; page.next !== null; ) {
    page = await api.heartbeats(last);
    for (const beat of page.items) {
      last = beat.id;
      if (!past.has(beat.replica)) past.set(beat.replica, []);
      past.get(beat.replica).push({ ...beat, at: Date.parse(beat.at) });
    }
  }
}

/// Drops what is older than the strips, and replicas that are gone.
export function trimHeartbeats(replicas, now) {
  for (const [name, beats] of past) {
    const kept = beats.filter((beat) => now - beat.at <= STRIP_MS);
    if (kept.length && replicas.some((replica) => replica.name === name)) past.set(name, kept);
    else past.delete(name);
  }
}

/// A strip that is still empty.
export const newStrip = () => svg("svg", { class: "strip", viewBox: `0 0 ${WIDTH} 10`, preserveAspectRatio: "none", role: "img" },
  ...Object.values(TONES).map((tone) => svg("path", { class: tone })));

/// Draws a replica's heartbeats up to `now`, a time of the balancer's.
export function drawStrip(strip, name, now) {
  const beats = past.get(name) || [];
  const shapes = { good: "", warn: "", bad: "" };
  const place = (at) => Math.max(0, WIDTH * (1 - (now - at) / STRIP_MS));
  beats.forEach((beat, index) => {
    const next = beats[index + 1]?.at ?? now;
    const [from, to] = [place(beat.at), place(Math.min(next, beat.at + MAX_BAR_MS))];
    shapes[TONES[beat.outcome]] += `M${from.toFixed(1)} 0H${to.toFixed(1)}V10H${from.toFixed(1)}Z`;
  });
  for (const path of strip.children) path.setAttribute("d", shapes[path.getAttribute("class")]);
  const count = (outcome) => beats.filter((beat) => beat.outcome === outcome).length;
  const [bad, missed] = [count("bad"), count("missed")];
  strip.setAttribute("aria-label", `${beats.length} heartbeats: ${missed} missed, ${bad} answered badly`);
}

/// How long the last answer took.
export function lastLatency(name) {
  const beat = (past.get(name) || []).findLast((one) => one.outcome !== "missed");
  return beat ? seconds(beat.latency_ms / 1000) : "";
}
