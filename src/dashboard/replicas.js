// The table of replicas, with a strip of each one's last minutes.

import { byId, html, reconcile, svg } from "./element.js";
import { percent, stateName, tone } from "./format.js";
import { colourOf } from "./ring.js";
import * as actions from "./actions.js";

/// A strip has so many ticks, one every two seconds: five minutes.
const TICKS = 150;
const TICK_MS = 2000;

const past = new Map();
let lastTick = 0;

/// Remembers how each replica was.
function remember(replicas) {
  const tick = Math.floor(Date.now() / TICK_MS);
  if (tick === lastTick) return;
  lastTick = tick;
  for (const replica of replicas) {
    const strip = past.get(replica.name) || [];
    strip.push([tick, tone(replica)]);
    past.set(replica.name, strip.filter(([at]) => at > tick - TICKS));
  }
  for (const name of past.keys()) {
    if (!replicas.some((replica) => replica.name === name)) past.delete(name);
  }
}

function drawStrip(strip, name) {
  const ticks = past.get(name) || [];
  const bars = ticks.map(([at, tone]) => svg("rect", { x: TICKS - 1 - (lastTick - at), y: 0, width: 1.05, height: 10, class: tone }));
  strip.replaceChildren(...bars);
  const bad = ticks.filter(([, tone]) => tone !== "good").length;
  strip.setAttribute("aria-label", bad ? `not ready for ${bad * 2} of the last ${ticks.length * 2} seconds` : "ready all the time");
}

function row(replica) {
  const button = (text, act, kind = "") =>
    html("button", { type: "button", class: kind, "aria-label": `${text} ${replica.name}`, on: { click: () => act(replica.name) } }, text);
  return html("tr", {},
    html("th", { scope: "row" }, html("span", { class: "name" }, html("span", { class: "dot" }), replica.name), html("span", { class: "where" })),
    html("td", {}, html("span", { class: "chip" }), html("span", { class: "why" })),
    html("td", { class: "number generation" }),
    html("td", { class: "number weight" }),
    html("td", { class: "number share" }),
    html("td", { class: "number in-flight" }),
    html("td", {}, svg("svg", { class: "strip", viewBox: `0 0 ${TICKS} 10`, preserveAspectRatio: "none", role: "img" })),
    html("td", {}, html("div", { class: "actions" },
      button("Weight", actions.weigh), button("Remove", actions.remove, "dangerous"))),
  );
}

function update(element, replica, shares) {
  const set = (selector, text) => { element.querySelector(selector).textContent = text; };
  element.querySelector(".dot").style.background = colourOf(replica.name);
  set(".where", replica.endpoint || replica.container || "");
  const chip = element.querySelector(".chip");
  chip.textContent = stateName(replica);
  chip.className = `chip ${tone(replica)}`;
  const slow = replica.slow_start_share !== null && replica.slow_start_share < 1
    ? `slow start: ${percent(replica.slow_start_share)} of its keys` : "";
  set(".why", replica.last_error || slow);
  set(".generation", replica.generation);
  set(".weight", replica.weight);
  set(".share", shares.has(replica.name) ? percent(shares.get(replica.name)) : "–");
  set(".in-flight", replica.in_flight);
  drawStrip(element.querySelector(".strip"), replica.name);
}

export function showReplicas(fleet, shares) {
  remember(fleet.replicas);
  actions.know(fleet);
  reconcile(byId("replica-rows"), fleet.replicas, (replica) => replica.name, row, (element, replica) => update(element, replica, shares));
}
