//! Parameters that several operations have, for the description alone: extractors and functions beside
//! the handlers read them.

use utoipa::IntoParams;

macro_rules! parameters {
    ($(#[$about:meta])* $name:ident in $place:ident {
        $($(#[$field_about:meta])* $field:ident: $type:ty { $($described:tt)* })*
    }) => {
        $(#[$about])*
        #[derive(IntoParams)]
        #[into_params(parameter_in = $place)]
        pub struct $name {
            $(
                $(#[$field_about])*
                #[param($($described)*)]
                #[expect(dead_code, reason = "describes a parameter")]
                $field: $type,
            )*
        }
    };
}

parameters! {
    /// The fleet of a path.
    Fleet in Path {
        /// The fleet's name
        fleet: String { example = "default" }
    }
}

parameters! {
    /// The replica of a path, of its fleet.
    Replica in Path {
        /// The replica's name
        name: String { example = "Server1" }
    }
}

parameters! {
    /// A drill or rollout of a path, by its number.
    Number in Path {
        /// Its number
        id: u64 { example = 1 }
    }
}

parameters! {
    /// `Prefer`, of calls that may take long.
    Prefer in Header {
        /// `respond-async` is answered at once, with 202
        prefer: String { rename = "Prefer", required = false, example = "respond-async" }
    }
}

parameters! {
    /// `If-None-Match`, of reads.
    IfNoneMatch in Header {
        /// ETags of which none is wanted again: 304 if the configuration has one of them
        if_none_match: String {
            rename = "If-None-Match", required = false, pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#,
            example = "\"1a2b3c4d-5\""
        }
    }
}

parameters! {
    /// `If-Match`, of changes.
    IfMatch in Header {
        /// The ETag that the change is based on: 412 if the configuration has been changed meanwhile
        if_match: String {
            rename = "If-Match", required = false, pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#, example = "*"
        }
    }
}

parameters! {
    /// `Idempotency-Key`, of calls that must not be carried out twice.
    IdempotencyKey in Header {
        /// A key of the client's, in quotes or without: the same call with the same key is carried
        /// out once, and answered as before when it is repeated within an hour
        idempotency_key: String {
            rename = "Idempotency-Key", required = false,
            pattern = r#"^("[ !#-\[\]-~]{1,200}"|[!#-\[\]-~]{1,200})$"#,
            example = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""
        }
    }
}

parameters! {
    /// `Last-Event-ID`, of a stream of events.
    LastEventId in Header {
        /// The last event that the client of a stream has seen; it takes precedence over `after`
        last_event_id: u64 { rename = "Last-Event-ID", required = false }
    }
}
