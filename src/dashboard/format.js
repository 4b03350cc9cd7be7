// Numbers, times and states for people.

const PALETTE = [
  "#0072b2", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#f0e442", "#882255", "#332288",
  "#88ccaa", "#999933", "#aa4499", "#bbbbbb",
];

/// The colour of one of `all` replicas: the same as in `ringmaster ring show --svg`.
export function colour(index, all) {
  if (all <= PALETTE.length) return PALETTE[index];
  return `hsl(${(index * 137.507764) % 360} 58% ${[45, 62, 54][index % 3]}%)`;
}

export const percent = (share) => `${(share * 100).toFixed(1)} %`;
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });

export function count(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  return number >= 100 || Number.isInteger(number) ? Math.round(number).toLocaleString("en") : number.toFixed(1);
}

export function seconds(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value < 0.01) return `${(value * 1000).toFixed(1)} ms`;
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
}

const STATES = {
  ready: "good", starting: "warn", unready: "bad", hung: "bad", restarting: "warn",
  backing_off: "bad", draining: "warn", drained: "warn", stopping: "warn",
};

/// good, warn or bad.
export const tone = (replica) => (replica.ejected ? "bad" : STATES[replica.state] || "warn");
export const stateName = (replica) =>
  (replica.ejected ? "ejected" : replica.state.replaceAll("_", " ")) + (replica.degraded ? ", degraded" : "");
