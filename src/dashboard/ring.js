// The ring: slots by replica, the slots of one that is pointed at, and the way of a key.

import * as api from "./api.js";
import { byId, html, reconcile, svg } from "./element.js";
import { colour, percent, stateName } from "./format.js";

/// So many slots are drawn: what the eye can tell apart.
const SAMPLES = 360;
const [CENTRE, OUTER, INNER] = [200, 185, 120];

let colours = new Map();

export const colourOf = (replica) => colours.get(replica) || "#888";

function point(turn, radius) {
  const angle = turn * 2 * Math.PI - Math.PI / 2;
  return `${(CENTRE + radius * Math.cos(angle)).toFixed(2)} ${(CENTRE + radius * Math.sin(angle)).toFixed(2)}`;
}

/// One piece of the ring, from and to in turns.
function arc(from, to) {
  const large = to - from > 0.5 ? 1 : 0;
  return `M${point(from, OUTER)}A${OUTER} ${OUTER} 0 ${large} 1 ${point(to, OUTER)}` +
    `L${point(to, INNER)}A${INNER} ${INNER} 0 ${large} 0 ${point(from, INNER)}Z`;
}

/// All pieces of each replica as one path: [its place, the path].
function paths(ring) {
  const pieces = ring.replicas.map(() => "");
  const owners = ring.owners;
  for (let start = 0; start < owners.length; ) {
    let end = start + 1;
    while (end < owners.length && owners[end] === owners[start]) end += 1;
    // In two, because an arc from a point to itself draws nothing.
    const [from, middle, to] = [start, (start + end) / 2, end].map((place) => place / owners.length);
    pieces[owners[start]] += arc(from, middle) + arc(middle, to);
    start = end;
  }
  return pieces;
}

function choose(name) {
  const picture = byId("ring-picture");
  picture.classList.toggle("hovering", name !== null);
  for (const path of picture.querySelectorAll("path[data-key]")) {
    path.classList.toggle("chosen", path.dataset.key === name);
  }
}

const hover = (name) => ({
  mouseenter: () => choose(name), mouseleave: () => choose(null), focus: () => choose(name), blur: () => choose(null),
});

export async function drawRing() {
  const ring = await api.ring(SAMPLES);
  const all = ring.replicas.length;
  colours = new Map(ring.replicas.map((replica, index) => [replica.name, colour(index, all)]));
  const slots = ring.replicas.reduce((sum, replica) => sum + replica.slots, 0) || 1;
  const picture = byId("ring-picture");
  if (!picture.firstChild) {
    picture.append(
      svg("g", { id: "ring-arcs" }),
      svg("text", { x: CENTRE, y: CENTRE - 8, "font-size": 24, "font-weight": 600, id: "ring-strategy" }),
      svg("text", { x: CENTRE, y: CENTRE + 18, class: "small", id: "ring-slots" }),
      svg("text", { x: CENTRE, y: CENTRE + 40, class: "small", id: "ring-epoch" }),
      svg("g", { id: "ring-key" }),
    );
  }
  byId("ring-strategy").textContent = ring.strategy;
  byId("ring-slots").textContent = `${ring.slots.toLocaleString("en")} slots`;
  byId("ring-epoch").textContent = `epoch ${ring.epoch}`;
  const shapes = paths(ring).map((path, index) => ({ ...ring.replicas[index], path }));
  reconcile(byId("ring-arcs"), shapes, (shape) => shape.name,
    (shape) => svg("path", { on: hover(shape.name) }, svg("title", {}, shape.name)),
    (element, shape) => {
      element.setAttribute("d", shape.path);
      element.setAttribute("fill", colourOf(shape.name));
    });
  reconcile(byId("ring-legend"), shapes, (shape) => shape.name,
    (shape) => html("li", {}, html("button", { type: "button", class: "plain", on: hover(shape.name) },
      html("span", { class: "dot" }), shape.name, html("span", { class: "share" }))),
    (element, shape) => {
      element.querySelector(".dot").style.background = colourOf(shape.name);
      element.querySelector(".share").textContent = percent(shape.slots / slots);
    });
  picture.setAttribute("aria-label", `The ring's slots by replica: ${shapes.map((shape) => `${shape.name} ${percent(shape.slots / slots)}`).join(", ")}`);
  return new Map(shapes.map((shape) => [shape.name, shape.slots / slots]));
}

/// The way of the key that is typed: its slot on the ring, and who serves it in turn.
export async function explainKey(event) {
  event.preventDefault();
  const key = byId("key").value;
  const place = byId("explanation");
  if (!key) {
    place.replaceChildren();
    byId("ring-key").replaceChildren();
    return;
  }
  try {
    const way = await api.explain(key);
    const turn = way.slot / way.ring.slots;
    byId("ring-key").replaceChildren(svg("path", {
      class: "pointer", d: `M${point(turn, INNER - 14)}L${point(turn, OUTER + 12)}`,
    }));
    const why = (candidate) => {
      const reasons = [
        candidate.state !== "ready" && stateName(candidate),
        candidate.ejected && "ejected",
        candidate.at_bound && "at its load bound",
      ].filter(Boolean);
      return reasons.length ? ` – passed over: ${reasons.join(", ")}` : "";
    };
    place.replaceChildren(
      html("p", {}, `Slot ${way.slot.toLocaleString("en")}. `,
        way.served_by ? html("strong", {}, `${way.served_by} serves it now.`) : "No replica can serve it now."),
      html("ol", {}, way.candidates.slice(0, 8).map((candidate) =>
        html("li", {}, html("span", { class: "dot", colour: colourOf(candidate.replica) }), ` ${candidate.replica}${why(candidate)}`))),
    );
  } catch (error) {
    place.replaceChildren(html("p", { role: "alert" }, error.message));
  }
}
