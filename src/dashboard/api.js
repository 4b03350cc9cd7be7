// The admin API: calls, and errors as RFC 9457 has them.

const FLEET = "/api/v1/fleets/default";

/// What a refused call says.
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the balancer answered ${status}`);
    this.status = status;
  }
}

async function call(method, path, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: method === "GET" ? AbortSignal.timeout(5000) : undefined,
  });
  const isJson = (response.headers.get("content-type") || "").includes("json");
  const answer = isJson ? await response.json() : null;
  if (!response.ok) throw new ApiError(response.status, answer || {});
  return answer;
}

const name = encodeURIComponent;

/// Who the caller is: {right, admitted_by}.
export const session = () => call("GET", "/api/v1/session");
export const logIn = (login) => call("POST", "/api/v1/session", login);
export const logOut = () => call("DELETE", "/api/v1/session");

export const status = () => call("GET", "/api/v1/status");
export const ring = (samples) => call("GET", `${FLEET}/ring?samples=${samples}`);
export const deaths = () => call("GET", `${FLEET}/deaths?limit=1000`);
export const heartbeats = (after) => call("GET", `${FLEET}/heartbeats?limit=1000&after=${after}`);
export const explain = (key) => call("GET", `${FLEET}/keys/${name(key)}`);
export const add = (replicas) => call("POST", `${FLEET}/replicas`, replicas);
export const remove = (replica) => call("DELETE", `${FLEET}/replicas/${name(replica)}`);
export const change = (replica, patch) => call("PATCH", `${FLEET}/replicas/${name(replica)}`, patch);
export const changeFleet = (patch) => call("PATCH", FLEET, patch);
export const restart = (replica, now) => call("POST", `${FLEET}/replicas/${name(replica)}/restart${now ? "?now=true" : ""}`);
export const drill = (replica, fault, duration) =>
  call("POST", `${FLEET}/drills`, fault === "kill" ? { replica, fault } : { replica, fault, for: duration });
export const directRollout = (id, command) => call("POST", `${FLEET}/rollouts/${id}/${command}`);
export const endMaintenance = () => call("DELETE", `${FLEET}/maintenance`);
export const resume = () => call("POST", `${FLEET}/resume`, {});
export const reweigh = (weights) => call("PATCH", `${FLEET}/ring?dry_run=true`, { weights });

/// The text of /metrics.
export async function metrics() {
  const response = await fetch("/metrics", { signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new ApiError(response.status, {});
  return response.text();
}
