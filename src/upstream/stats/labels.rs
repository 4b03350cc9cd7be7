//! By what requests are counted, as the values of metric labels: few, and known beforehand.

use actix_web::http::{Method, StatusCode};

/// An enum whose variants have labels and numbers.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "their labels say what they are")]
        pub enum $name { $($variant,)* }

        impl $name {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The value of the metric label.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

labels! {
    /// A request's method.
    MethodLabel {
        Get "GET",
        Head "HEAD",
        Post "POST",
        Put "PUT",
        Delete "DELETE",
        Connect "CONNECT",
        Options "OPTIONS",
        Trace "TRACE",
        Patch "PATCH",
        // Clients choose methods: each of its own would be a series.
        Other "other",
    }
}

labels! {
    /// A response's status.
    StatusClass {
        Informational "1xx",
        Success "2xx",
        Redirection "3xx",
        ClientError "4xx",
        ServerError "5xx",
    }
}

labels! {
    /// Why an attempt to have a replica answer failed, or why Ringmaster answered itself.
    FailureReason {
        ConnectionRefused "connection_refused",
        ConnectTimeout "connect_timeout",
        NotConnected "not_connected",
        FdLimit "open_files",
        Disconnected "disconnected",
        Evicted "evicted",
        InvalidResponse "invalid_response",
        ResponseTimeout "response_timeout",
        RequestTimeout "request_timeout",
        ClientAborted "client_aborted",
        ClientBodyTimeout "client_body_timeout",
        ClientBodyTooSlow "client_body_too_slow",
        ClientClosed "client_closed",
        BodyTooLarge "body_too_large",
        // From here on no replica was asked.
        NoReplica "no_replica_ready",
        AllBusy "all_replicas_busy",
        QueueFull "queue_full",
        QueueTimeout "queue_request_timeout",
        TooManyTunnels "too_many_tunnels",
        Maintenance "maintenance",
        InvalidRequest "invalid_request",
    }
}

impl FailureReason {
    /// Those of attempts.
    pub fn of_attempts() -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.take_while(|reason| *reason != Self::NoReplica)
    }
}

labels! {
    /// Why an instance was replaced.
    RestartCause {
        Exited "exited",
        Killed "killed",
        OutOfMemory "out_of_memory",
        RefusesConnections "refuses_connections",
        Unresponsive "unresponsive",
        Unready "unready",
        NotReadyInTime "not_ready_in_time",
        Moved "moved",
    }
}

labels! {
    /// Why what a client sent was no request that could be forwarded.
    Refusal {
        Malformed "malformed",
        HeaderTimeout "header_timeout",
        TargetTooLong "target_too_long",
        HeadTooLarge "head_too_large",
        OtherVersion "http_version",
        Other "other",
    }
}

labels! {
    /// What a client's connection does.
    ConnectionLabel {
        Idle "idle",
        Queued "queued",
        Active "active",
        Tunnel "tunnel",
    }
}

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::DELETE => Self::Delete,
            Method::CONNECT => Self::Connect,
            Method::OPTIONS => Self::Options,
            Method::TRACE => Self::Trace,
            Method::PATCH => Self::Patch,
            _ => Self::Other,
        }
    }
}

impl From<StatusCode> for StatusClass {
    fn from(status: StatusCode) -> Self {
        match status.as_u16() {
            ..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}
