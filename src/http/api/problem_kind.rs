//! Every kind of problem that the admin API answers with, and what explains it.

use actix_web::http::StatusCode;

/// The path below which a problem's `type` stands.
pub const PROBLEMS: &str = "/api/problems/";

/// Declares the kinds once: status code, the end of the `type`, title, explanation.
macro_rules! problem_kinds {
    ($($kind:ident = $status:ident, $slug:literal, $title:literal, $text:literal;)*) => {
        /// A kind of problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ProblemKind {
            $(#[doc = $title] $kind,)*
        }

        impl ProblemKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            const fn parts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
                match self {
                    $(Self::$kind => (StatusCode::$status, $slug, $title, $text),)*
                }
            }
        }
    };
}

problem_kinds! {
    WrongMethod = METHOD_NOT_ALLOWED, "wrong-method", "Method not allowed",
        "The path exists, but not with this method. The Allow header lists its methods.";
    Forbidden = FORBIDDEN, "forbidden", "The client may not make this call",
        "A web page of another origin sent the call, the Host header names another host, the client \
         is on another machine while no tokens are set, or the token gives the right to read only. \
         The detail says which.";
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "The call needs a token",
        "The balancer has tokens (--admin-token-file, RINGMASTER_ADMIN_TOKEN), and this call has none \
         that is accepted. Send it as Authorization: Bearer TOKEN.";
    InvalidCode = UNAUTHORIZED, "invalid-code", "The link is not valid",
        "The code of a link that the start prints is good for one login within ten minutes. Log in \
         with a token, or restart the balancer for another link.";
    NoRandomness = INTERNAL_SERVER_ERROR, "no-randomness", "The system gives no random bytes",
        "A session needs random bytes, which the system did not give. The detail has its error.";
    NotJson = UNSUPPORTED_MEDIA_TYPE, "not-json", "The body is not JSON",
        "The call needs a body with Content-Type: application/json.";
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "The body is too large",
        "A body may have 128 KiB.";
    InvalidBody = BAD_REQUEST, "invalid-body", "The body is invalid",
        "The body is not JSON, or not what /api/openapi.json describes: an unknown field, another \
         type, or a number out of its range. The detail says what and where. Nothing has changed.";
    InvalidQuery = BAD_REQUEST, "invalid-query", "The query is invalid",
        "A parameter of the query is unknown or has a value that is not allowed. \
         The detail says which.";
    InvalidHeader = BAD_REQUEST, "invalid-header", "A header is invalid",
        "If-Match and If-None-Match have entity tags in quotes, or *; Idempotency-Key has one key of 1 \
         to 200 printable characters, in quotes or without; Last-Event-ID is a whole number. The detail \
         says what is wrong. Nothing has changed.";
    PreconditionFailed = PRECONDITION_FAILED, "precondition-failed",
        "The configuration has been changed meanwhile",
        "If-Match has the ETag of an earlier configuration of the fleet. Read it again, decide again, \
         and send the change with the new ETag. Nothing has changed.";
    KeyInUse = CONFLICT, "key-in-use", "The first call with this key is not over",
        "Another call with this Idempotency-Key is under way. Send it again later: once the first is \
         over, the answer is the first one's.";
    KeyReused = UNPROCESSABLE_ENTITY, "key-reused", "The key belongs to another call",
        "An earlier call had this Idempotency-Key and another body. A new call needs a new key. Nothing \
         has changed.";
    BodyTimeout = REQUEST_TIMEOUT, "body-timeout", "The body took too long",
        "The client paused within its body for longer than --body-timeout. Nothing has changed.";
    BodyAborted = BAD_REQUEST, "body-aborted", "The body broke off",
        "The body ended before its length, or its framing is invalid. Nothing has changed.";
    UnknownPath = NOT_FOUND, "unknown-path", "There is no such path",
        "The API is below /api/v1; /api/openapi.json lists every path.";
    UnknownFleet = NOT_FOUND, "unknown-fleet", "There is no such fleet",
        "GET /api/v1/fleets lists the fleets.";
    UnknownReplica = NOT_FOUND, "unknown-replica", "There is no such replica",
        "GET /api/v1/fleets/{fleet}/replicas lists the replicas. Names differ in case.";
    UnknownDrill = NOT_FOUND, "unknown-drill", "There is no such drill",
        "GET /api/v1/fleets/{fleet}/drills lists the last drills; older ones are forgotten.";
    UnknownRollout = NOT_FOUND, "unknown-rollout", "There is no such rollout",
        "GET /api/v1/fleets/{fleet}/rollouts lists the one under way and the last ten that have ended.";
    RolloutUnderWay = CONFLICT, "rollout-under-way", "A rollout is under way",
        "One rollout is carried out at a time. None begins while a replica is moved to another node, no \
         replica is moved during one, and a replica that it is just replacing or watching is not restarted. Wait until it has gone on, or pause or undo it.";
    RolloutState = CONFLICT, "rollout-state", "The rollout is in another state",
        "One that is under way can be paused or undone, one that is paused can be resumed or undone, \
         one whose canary is ready can be promoted, and of those that have ended only the last can be undone, if it was done. The detail says \
         what is in the way.";
    CannotRollOut = UNPROCESSABLE_ENTITY, "cannot-roll-out", "The replicas cannot run that",
        "The runtime cannot start instances of the new definition: there is no such program or image, \
         or no room for a second instance beside the first. The detail says why. Nothing has changed.";
    DrillRunning = CONFLICT, "drill-running", "Another drill runs",
        "One drill runs at a time. Wait until the other is over.";
    NoDrillTarget = CONFLICT, "no-drill-target", "No fault can be injected there",
        "Faults are injected into processes and labelled containers that this balancer has started, and on a \
         Swarm into those of its own node; another node can be drained. The detail says why this replica is \
         none, that no replica is ready, or why the node is not drained.";
    DoesNotFit = UNPROCESSABLE_ENTITY, "does-not-fit", "The ring cannot be built like this",
        "The strategy does not take this number of slots or virtual servers, or the members and their \
         weights do not fit into it. The detail says what is allowed. Nothing has changed.";
    Stopping = SERVICE_UNAVAILABLE, "stopping", "The balancer is stopping",
        "The balancer takes no more changes. Ask the one that takes its place.";
    InvalidChange = UNPROCESSABLE_ENTITY, "invalid-change", "The change is invalid",
        "The body is well formed, but its parts do not go together, or the fleet has no room: more \
         names than replicas, a weight for a replica that is not named, a name given twice, an \
         invalid name, or too many replicas. The detail says which. Nothing has changed.";
    NameTaken = CONFLICT, "name-taken", "There is a replica of this name",
        "A replica has this name, or one that differs in case alone, which DNS cannot tell from it. \
         A replica that is being removed still has its name. Nothing has changed.";
    StaticFleet = CONFLICT, "static-fleet", "The replicas of this fleet are given",
        "The balancer was started with --upstream: it forwards to these servers and starts none.";
    NoNodes = CONFLICT, "no-nodes", "There are no nodes",
        "Replicas are spread over the nodes of a Swarm, of which one can be drained for a drill; this fleet has \
         another runtime.";
    LastActive = CONFLICT, "last-active", "No other replica would serve requests",
        "All other replicas are drained. Activate one of them, or add one, and then drain this one.";
    SharedFleet = CONFLICT, "shared-fleet", "Another balancer serves the fleet",
        "The call has its effect on one balancer alone, so it is refused while another one sends \
         requests to the same replicas. The detail says why. Nothing has changed.";
    NotPaused = CONFLICT, "not-paused", "The fleet is not paused",
        "A pause ends when it is resumed, or after --max-pause or what the call said. It has ended, or \
         there was none.";
    Busy = SERVICE_UNAVAILABLE, "busy", "Too many changes are waiting",
        "Changes are made one after the other, and too many are waiting already. Try again later.";
    StartFailed = INTERNAL_SERVER_ERROR, "start-failed", "A replica could not be started",
        "The runtime could not start an instance, so none of the new replicas has been added. The \
         detail has its error.";
    StopFailed = INTERNAL_SERVER_ERROR, "stop-failed", "A replica could not be stopped",
        "The replica is off the ring and no longer part of the fleet, but its instance could not be \
         stopped and is left behind. The detail has the error.";
    NotRecorded = INTERNAL_SERVER_ERROR, "not-recorded",
        "The change is made, but would not outlive a restart of the balancer",
        "The change has taken effect, but the fleet record could not be written. It is tried again \
         every 5 seconds; the fleet's status shows the error meanwhile.";
    Failed = INTERNAL_SERVER_ERROR, "failed", "The change failed",
        "The change could not be made. The detail has the reason.";
}

impl ProblemKind {
    /// The status code of its responses.
    pub const fn status(self) -> StatusCode {
        self.parts().0
    }

    /// The end of its `type`.
    pub const fn slug(self) -> &'static str {
        self.parts().1
    }

    /// What it is, in words.
    pub const fn title(self) -> &'static str {
        self.parts().2
    }

    /// Its `type`: the path of its page.
    pub fn path(self) -> String {
        format!("{PROBLEMS}{}", self.slug())
    }

    /// What it means, for people.
    pub fn page(self) -> String {
        let (status, slug, title, text) = self.parts();
        format!("{slug}: {title}\n\nStatus: {status}\n\n{text}\n")
    }
}
