// What can be done, each with a confirmation that says what it moves.

import * as api from "./api.js";
import { byId, html } from "./element.js";
import { percent } from "./format.js";

let fleet = null;

/// The fleet that the next action is about.
export const know = (present) => { fleet = present; };

/// Asks in a dialog; `act` runs when it is confirmed, and an error of it stays on the dialog.
function ask({ title, fields = [], effect, confirm, dangerous = false, act }) {
  const dialog = byId("dialog");
  const alert = html("p", { role: "alert" });
  const told = html("p", { class: "effect", "aria-live": "polite" });
  const form = html("form", { method: "dialog" },
    fields.map((field) => [html("label", { for: field.id }, field.label), html("input", field)]),
    told, alert,
    html("div", { class: "buttons" },
      html("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"),
      html("button", { class: dangerous ? "dangerous" : "primary", id: "confirm" }, confirm)));
  const tell = async () => {
    try { told.textContent = effect ? await effect(form) : ""; } catch (error) { told.textContent = error.message; }
  };
  form.addEventListener("input", tell);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = byId("confirm");
    button.disabled = true;
    alert.textContent = "";
    try {
      await act(form);
      dialog.close();
    } catch (error) {
      alert.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  });
  dialog.replaceChildren(html("h2", { id: "dialog-title" }, title), form);
  dialog.showModal();
  tell();
}

const value = (form, id) => form.querySelector(`#${id}`).value.trim();

/// The part of the keys that a replica serves now, in words.
const share = (name) => {
  const total = fleet.replicas.reduce((sum, replica) => sum + replica.weight, 0);
  const replica = fleet.replicas.find((candidate) => candidate.name === name);
  return replica ? percent(replica.weight / total) : "some";
};

export function add() {
  ask({
    title: "Add replicas",
    fields: [
      { id: "count", label: "How many", type: "number", min: 1, max: 100, value: 1, required: true },
      { id: "names", label: "Names, separated by blanks (random ones if empty)", autocomplete: "off" },
    ],
    effect: (form) => {
      const count = Number(value(form, "count"));
      return `About ${percent(count / (fleet.replicas.length + count))} of the keys move to the new replicas; no other key moves.`;
    },
    confirm: "Add",
    act: (form) => api.add({ count: Number(value(form, "count")), names: value(form, "names").split(/[\s,]+/).filter(Boolean) }),
  });
}

export function remove(name) {
  ask({
    title: `Remove ${name}?`,
    effect: () => `Its keys, about ${share(name)} of all, move to the others. It finishes the requests that it has, then it is stopped.`,
    confirm: "Remove",
    dangerous: true,
    act: () => api.remove(name),
  });
}

export function weigh(name) {
  const present = fleet.replicas.find((replica) => replica.name === name).weight;
  ask({
    title: `Weight of ${name}`,
    fields: [{ id: "weight", label: "1 to 1000, relative to the others", type: "number", min: 1, max: 1000, value: present, required: true }],
    effect: async (form) => {
      const weight = Number(value(form, "weight"));
      if (!weight || weight === present) return "No key moves.";
      const change = await api.reweigh({ [name]: weight });
      const own = change.ownership.find((row) => row.replica === name);
      return `${percent(change.moved_share)} of the keys move. ${name} goes from ${percent(own.before)} to ${percent(own.after)}.`;
    },
    confirm: "Change",
    act: (form) => api.change(name, { weight: Number(value(form, "weight")) }),
  });
}
