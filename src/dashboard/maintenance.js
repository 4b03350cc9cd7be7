// The maintenance: every request is answered with a page. Since when, and its end.

import * as api from "./api.js";
import { byId, html } from "./element.js";

/// Shows a maintenance, or none.
export function showMaintenance(maintenance) {
  const place = byId("maintenance");
  place.hidden = !maintenance;
  if (!maintenance) return;
  if (!place.hasChildNodes()) {
    const error = html("span", { class: "error", role: "alert" });
    const end = () => api.endMaintenance().catch((wrong) => { error.textContent = wrong.message; });
    place.append(html("span", { id: "maintenance-text" }),
      html("span", { class: "actions" }, html("button", { type: "button", class: "change", on: { click: end } }, "End")), error);
  }
  const since = new Date(maintenance.since).toLocaleString();
  byId("maintenance-text").textContent = `Maintenance since ${since}: a page of ${maintenance.page_bytes} bytes, Retry-After ${maintenance.retry_after_seconds} s `;
}
