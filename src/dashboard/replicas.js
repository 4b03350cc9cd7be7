// The table of replicas, and what can be done with each.

import * as actions from "./actions.js";
import { byId, html, reconcile } from "./element.js";
import { percent, stateName, tone } from "./format.js";
import { drawStrip, lastLatency, newStrip } from "./heartbeats.js";
import { colourOf } from "./ring.js";
import { mayChange } from "./session.js";

/// Each with what it does; those that do not apply to a replica are hidden.
const ACTIONS = [
  ["Drain", actions.drain, (replica) => !replica.drained],
  ["Undrain", actions.undrain, (replica) => replica.drained],
  ["Restart", actions.restart, (_, isStatic) => !isStatic],
  ["Weight", actions.weigh, () => true],
  ["Drill", actions.drill, (_, isStatic) => !isStatic],
  ["Remove", actions.remove, (_, isStatic) => !isStatic, "dangerous"],
];

function row(replica) {
  const button = ([text, act, , kind = ""]) => html("button", {
    type: "button", class: `change ${kind}`, "aria-label": `${text} ${replica.name}`, on: { click: () => act(replica.name) },
  }, text);
  // With roles, because a phone shows the rows as cards, which are no table to browsers.
  const cell = (attributes, ...children) => html("td", { role: "cell", ...attributes }, ...children);
  const number = (kind, label) => cell({ class: `number ${kind}`, "data-label": label });
  return html("tr", { role: "row" },
    html("th", { role: "rowheader", scope: "row" }, html("span", { class: "name" }, html("span", { class: "dot" }), replica.name), html("span", { class: "where" })),
    cell({ class: "state" }, html("span", { class: "chip" }), html("span", { class: "why" })),
    number("generation", "Generation"),
    number("weight", "Weight"),
    number("share", "Share"),
    number("in-flight", "In flight"),
    cell({ class: "beats" }, newStrip(), html("span", { class: "latency" })),
    cell({}, html("div", { class: "actions" }, ACTIONS.map(button))),
  );
}

function update(element, replica, shares, now, isStatic) {
  const set = (selector, text) => { element.querySelector(selector).textContent = text; };
  element.querySelector(".dot").style.background = colourOf(replica.name);
  const node = replica.node ? ` on ${replica.node}` : "";
  set(".where", (replica.endpoint || replica.container || "") + node);
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
  drawStrip(element.querySelector(".strip"), replica.name, now);
  set(".latency", lastLatency(replica.name));
  element.querySelectorAll(".actions button").forEach((button, index) => {
    button.disabled = !mayChange();
    button.hidden = !ACTIONS[index][2](replica, isStatic);
  });
}

export function showReplicas(fleet, shares, now) {
  actions.know(fleet, shares);
  const isStatic = fleet.runtime.kind === "static";
  for (const id of ["add", "scale"]) byId(id).hidden = isStatic;
  reconcile(byId("replica-rows"), fleet.replicas, (replica) => replica.name, row,
    (element, replica) => update(element, replica, shares, now, isStatic));
}
