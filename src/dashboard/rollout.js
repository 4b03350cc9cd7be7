// The rollout under way: how far it is, and what can be done about it.

import * as api from "./api.js";
import { byId, html } from "./element.js";

let shown = "";
const figures = html("span", {});

/// Shows a rollout, or none.
export function showRollout(rollout) {
  const place = byId("rollout");
  place.hidden = !rollout;
  if (!rollout) return;
  const { canary, ...rest } = rollout;
  figures.textContent = canary ? ` ${compared(canary)} ` : "";
  // Buttons stay while only figures change.
  const now = JSON.stringify(rest);
  if (now === shown) return;
  shown = now;
  const state = rollout.state.replaceAll("_", " ");
  const why = rollout.reason || rollout.changes.join("; ");
  const commands = [rollout.state === "paused" ? "resume" : "pause"];
  if (rollout.state === "canary") commands.push("promote");
  if (rollout.state !== "rolling_back") commands.push("undo");
  const error = html("span", { class: "error", role: "alert" });
  const button = (command) => html("button", {
    type: "button",
    class: "change",
    on: { click: () => api.directRollout(rollout.id, command).catch((wrong) => { error.textContent = wrong.message; }) },
  }, command[0].toUpperCase() + command.slice(1));
  place.replaceChildren(
    html("span", {}, html("strong", {}, `Rollout ${rollout.id}: ${state}, ${rollout.done} of ${rollout.replicas} replicas`), ` – ${why} `),
    figures,
    html("span", { class: "actions" }, commands.map(button)), error);
}

/// A canary beside the replicas, in words.
function compared(canary) {
  const ready = canary.instances.filter((instance) => instance.ready).length;
  const one = (name, { requests, error_rate: errors, latency_p99_ms: p99 }) =>
    `${name}: ${requests} requests, ${(errors * 100).toFixed(2)} % failed` + (p99 === null ? "" : `, p99 ${p99.toFixed(1)} ms`);
  return `Canary of ${canary.share} (${ready} of ${canary.instances.length} ready) – ` +
    `${one("canary", canary.served)}; ${one("replicas", canary.served_by_replicas)}.`;
}
