// The rollout under way: how far it is, and what can be done about it.

import * as api from "./api.js";
import { byId, html } from "./element.js";

let shown = "";

/// Shows a rollout, or none.
export function showRollout(rollout) {
  const place = byId("rollout");
  place.hidden = !rollout;
  const now = JSON.stringify(rollout);
  if (!rollout || now === shown) return;
  shown = now;
  const state = rollout.state.replaceAll("_", " ");
  const why = rollout.reason || rollout.changes.join("; ");
  const commands = [rollout.state === "paused" ? "resume" : "pause"];
  if (rollout.state !== "rolling_back") commands.push("undo");
  const error = html("span", { class: "error", role: "alert" });
  const button = (command) => html("button", {
    type: "button",
    class: "change",
    on: { click: () => api.directRollout(rollout.id, command).catch((wrong) => { error.textContent = wrong.message; }) },
  }, command[0].toUpperCase() + command.slice(1));
  place.replaceChildren(
    html("span", {}, html("strong", {}, `Rollout ${rollout.id}: ${state}, ${rollout.done} of ${rollout.replicas} replicas`), ` – ${why} `),
    html("span", { class: "actions" }, commands.map(button)), error);
}
