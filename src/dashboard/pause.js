// The pause: requests are held. How many, for how long, and its end.

import * as api from "./api.js";
import { byId, html } from "./element.js";

/// Shows a pause, or none.
export function showPause(pause, now) {
  const place = byId("pause");
  place.hidden = !pause;
  if (!pause) return;
  if (!place.hasChildNodes()) {
    const error = html("span", { class: "error", role: "alert" });
    const resume = () => api.resume().catch((wrong) => { error.textContent = wrong.message; });
    place.append(html("span", { id: "pause-text" }),
      html("span", { class: "actions" }, html("button", { type: "button", class: "change", on: { click: resume } }, "Resume")), error);
  }
  const left = Math.max(0, Math.round((Date.parse(pause.ends_at) - now) / 1000));
  byId("pause-text").textContent = `Paused for ${left} s more at the most: ${pause.in_flight} in flight, ${pause.waiting} waiting `;
}
