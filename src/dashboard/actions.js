// What can be done, each with a confirmation that says what it moves.

import * as api from "./api.js";
import { ask, value } from "./dialog.js";
import { count, percent } from "./format.js";

let fleet = null;
let shares = new Map();

/// The fleet that the next action is about, and each replica's share of the keys.
export const know = (present, owned) => { [fleet, shares] = [present, owned]; };

const find = (name) => fleet.replicas.find((replica) => replica.name === name) || { name, in_flight: 0, weight: 1 };

/// The keys that a replica has now, in words.
const keysOf = (name) => (shares.has(name) ? `Its keys, ${percent(shares.get(name))} of all,` : "Its keys");

/// The requests that it has now, in words.
function requestsOf(name) {
  const number = find(name).in_flight;
  return number === 1 ? "the request that it has now" : `the ${count(number)} requests that it has now`;
}

/// What it means if no other replica could take the keys.
function warning(name) {
  const others = fleet.replicas.filter((replica) => replica.name !== name && replica.state === "ready");
  return others.length ? "" : " No other replica is ready: requests wait, and then fail.";
}

export function add() {
  ask({
    title: "Add replicas",
    fields: [
      { id: "count", label: "How many", type: "number", min: 1, max: 100, value: 1, required: true },
      { id: "names", label: "Names, separated by blanks (random ones if empty)", autocomplete: "off" },
    ],
    effect: (form) => {
      const number = Number(value(form, "count"));
      if (!number) return "";
      const weight = fleet.replicas.reduce((sum, replica) => sum + replica.weight, 0);
      return `About ${percent(number / (weight + number))} of the keys move to the new replicas; no other key moves.`;
    },
    confirm: "Add",
    act: (form) => api.add({ count: Number(value(form, "count")), names: value(form, "names").split(/[\s,]+/).filter(Boolean) }),
  });
}

export function scale() {
  const present = fleet.desired_replicas;
  ask({
    title: "How many replicas",
    fields: [{ id: "desired", label: "Replicas to keep alive", type: "number", min: 1, max: 1024, value: present, required: true }],
    effect: (form) => {
      const desired = Number(value(form, "desired"));
      if (!desired || desired === present) return "No key moves.";
      if (desired > present) {
        return `${desired - present} more: about ${percent((desired - present) / desired)} of the keys move to them; no other key moves.`;
      }
      return `${present - desired} fewer, drained ones first: about ${percent((present - desired) / present)} of the keys move to those that stay.`;
    },
    confirm: "Scale",
    act: (form) => api.changeFleet({ desired_replicas: Number(value(form, "desired")) }),
  });
}

export function remove(name) {
  ask({
    title: `Remove ${name}?`,
    effect: () => `${keysOf(name)} move to the others for good. It finishes ${requestsOf(name)}, then it is stopped.${warning(name)}`,
    confirm: "Remove",
    dangerous: true,
    act: () => api.remove(name),
  });
}

export function weigh(name) {
  const present = find(name).weight;
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

export function drain(name) {
  ask({
    title: `Drain ${name}?`,
    effect: () => `${keysOf(name)} go to the others until it is undrained, each to the next in its order. It finishes ${requestsOf(name)}, and runs on without new ones.${warning(name)}`,
    confirm: "Drain",
    act: () => api.change(name, { state: "drained" }),
  });
}

export function undrain(name) {
  ask({
    title: `Undrain ${name}?`,
    effect: () => `${keysOf(name)} come back to it as soon as it is ready; no other key moves.`,
    confirm: "Undrain",
    act: () => api.change(name, { state: "active" }),
  });
}

export function restart(name) {
  ask({
    title: `Restart ${name}?`,
    fields: [{ id: "now", label: "Now, without waiting for the requests that it has", type: "checkbox" }],
    effect: (form) => {
      const first = value(form, "now") ? `It is stopped at once, which breaks off ${requestsOf(name)}.` : `It finishes ${requestsOf(name)} first.`;
      return `${keysOf(name)} go to the others until its next instance is ready, and come back then. ${first}${warning(name)}`;
    },
    confirm: "Restart",
    dangerous: true,
    act: (form) => api.restart(name, value(form, "now")),
  });
}

export function drill(name) {
  ask({
    title: `Fault drill on ${name}`,
    fields: [
      { id: "fault", label: "Fault", options: [["kill", "Kill its instance"], ["pause", "Pause its instance"], ["delay", "Delay it: pause it half of the time"]] },
      { id: "seconds", label: "Seconds that it lasts", type: "number", min: 1, max: 60, value: 5, required: true },
    ],
    effect: (form) => {
      const isKill = value(form, "fault") === "kill";
      form.querySelector("#seconds").disabled = isKill;
      const what = isKill
        ? `It is killed, which breaks off ${requestsOf(name)}, and another instance starts under its name.`
        : "Its process is stopped: requests that it has wait, and heartbeats find out.";
      return `${what} ${keysOf(name)} go to the others while it is evicted.${warning(name)}`;
    },
    confirm: "Start the drill",
    dangerous: true,
    act: (form) => api.drill(name, value(form, "fault"), `${value(form, "seconds")}s`),
  });
}
