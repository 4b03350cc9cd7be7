// Rate, latencies, errors and what is in flight: from /metrics, or, without it, from the status.

import { byId, html, svg } from "./element.js";
import { count, seconds } from "./format.js";

/// Seconds that the chart shows, and that latencies are taken over.
const CHART_SECONDS = 300;
const LATENCY_SECONDS = 10;

/// One sample a second: {at, requests, failed, buckets}.
const samples = [];

/// Upper bounds and cumulative counts of a histogram, over all its labels.
function buckets(text, metric) {
  const sums = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith(`${metric}_bucket{`)) continue;
    const bound = /le="([^"]+)"/.exec(line);
    const number = Number(line.slice(line.lastIndexOf("}") + 1).trim().split(" ")[0]);
    if (bound) sums.set(bound[1], (sums.get(bound[1]) || 0) + number);
  }
  return [...sums].map(([bound, sum]) => [bound === "+Inf" ? Infinity : Number(bound), sum]).sort((a, b) => a[0] - b[0]);
}

/// A quantile of what came between two samples, interpolated within its bucket as
/// Prometheus' histogram_quantile does.
function quantile(q, before, after) {
  if (!after.length) return null;
  const grown = after.map(([bound, sum], place) => [bound, sum - (before[place]?.[1] || 0)]);
  const wanted = q * grown[grown.length - 1][1];
  if (wanted === 0) return null;
  let [lower, below] = [0, 0];
  for (const [bound, sum] of grown) {
    if (sum >= wanted) return bound === Infinity ? lower : lower + ((bound - lower) * (wanted - below)) / (sum - below || 1);
    [lower, below] = [bound, sum];
  }
  return null;
}

function line(values, max, width) {
  return values.map(([x, y]) => `${((x / CHART_SECONDS) * width).toFixed(1)},${(100 - (y / max) * 92).toFixed(1)}`).join(" ");
}

function drawChart(now) {
  const rates = samples.slice(1).map((sample, place) => {
    const before = samples[place];
    const took = (sample.at - before.at) / 1000 || 1;
    return [CHART_SECONDS - (now - sample.at) / 1000, (sample.requests - before.requests) / took, (sample.failed - before.failed) / took];
  });
  const max = Math.max(1, ...rates.map(([, requests]) => requests));
  const chart = byId("rate-chart");
  chart.setAttribute("viewBox", "0 0 600 100");
  const requests = line(rates.map(([x, y]) => [x, y]), max, 600);
  const errors = line(rates.map(([x, , y]) => [x, y]), max, 600);
  const first = rates.length ? (rates[0][0] / CHART_SECONDS) * 600 : 600;
  chart.replaceChildren(
    svg("polygon", { class: "area", points: `${first},100 ${requests} 600,100` }),
    svg("polyline", { class: "requests", points: requests }),
    rates.some(([, , y]) => y > 0) ? svg("polyline", { class: "errors", points: errors }) : "",
  );
  byId("rate-legend").textContent = `top: ${count(max)}/s`;
  return rates.at(-1);
}

export function showLoad(status, fleet, metrics) {
  const now = Date.now();
  const { counters } = fleet;
  samples.push({
    at: now, requests: counters.requests, failed: counters.failed,
    buckets: metrics ? buckets(metrics, "ringmaster_request_duration_seconds") : [],
  });
  while (samples.length && now - samples[0].at > CHART_SECONDS * 1000) samples.shift();
  const rate = drawChart(now);
  const before = samples.findLast((sample) => now - sample.at >= LATENCY_SECONDS * 1000) || samples[0];
  const last = samples.at(-1);
  const latency = (q) => seconds(quantile(q, before.buckets, last.buckets));
  const inFlight = fleet.replicas.reduce((sum, replica) => sum + replica.in_flight, 0);
  const tiles = [
    ["Requests/s", count(rate?.[1])],
    ["Errors/s", count(rate?.[2]), rate?.[2] > 0],
    ["p50", latency(0.5)],
    ["p99", latency(0.99)],
    ["In flight", count(inFlight)],
    ["Waited", count(counters.queued)],
    ["Retried", count(counters.retried)],
    ["Failed", count(counters.failed), counters.failed > 0],
  ];
  byId("tiles").replaceChildren(...tiles.map(([name, value, isBad]) =>
    html("div", {}, html("dt", {}, name), html("dd", { class: isBad ? "bad" : "" }, value))));
}
