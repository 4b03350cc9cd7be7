//! `GET /api/openapi.json`: the admin API described by its types and handlers.

use actix_web::HttpResponse;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::error::PROBLEM_JSON;
use super::problem_kind::ProblemKind;
use super::{
    drills, fleet_patch, fleet_replicas, fleets, health, history, keys, maintenance, metrics,
    pause, problem_page, rebalance, restart, ring, rollouts, session,
};
use crate::api::Problem;

/// The description of the admin API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ringmaster's admin API",
        description = "Replicas, ring and history of a self-healing HTTP load balancer. Errors are \
                       problems (RFC 9457). Without tokens (`--admin-token-file`) callers have to be \
                       local and need none.",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "The admin listener")),
    paths(
        health::healthz,
        health::readyz,
        health::version,
        metrics::metrics,
        fleets::status,
        fleets::list,
        fleets::get,
        fleet_patch::patch,
        maintenance::begin,
        maintenance::end,
        pause::pause,
        pause::resume,
        fleet_replicas::list,
        fleet_replicas::add,
        fleet_replicas::get,
        fleet_replicas::patch,
        fleet_replicas::remove,
        restart::restart,
        rebalance::rebalance,
        ring::get,
        ring::patch,
        keys::explain,
        history::events,
        history::deaths,
        history::heartbeats,
        drills::list,
        drills::start,
        drills::get,
        rollouts::list,
        rollouts::start,
        rollouts::get,
        rollouts::pause,
        rollouts::resume,
        rollouts::promote,
        rollouts::undo,
        session::get,
        session::begin,
        session::end,
        problem_page::explain,
        openapi,
    ),
    components(schemas(Problem)),
    security(("token" = [])),
    modifiers(&Token, &Problems, &FromHeaders),
)]
struct ApiDescription;

/// The description as a document.
pub fn document() -> Document {
    ApiDescription::openapi()
}

/// This description
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "description",
    responses((status = 200, description = "It, in OpenAPI 3.1", body = serde_json::Value)),
    security(()),
)]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// `Authorization: Bearer TOKEN`.
struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut Document) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some("A line of --admin-token-file"));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    }
}

/// The problems that follow from what an operation has: rights, a body, a query, a path.
struct Problems;

impl Modify for Problems {
    fn modify(&self, api: &mut Document) {
        for (path, item) in &mut api.paths.paths {
            for operation in operations(item) {
                for (kinds, has) in [
                    (UNAUTHORIZED, operation.security.is_none()),
                    (FORBIDDEN, true),
                    (INVALID, has_input(operation)),
                    (OUTDATED, has_parameter(operation, "If-Match")),
                    (OUTDATED, has_parameter(operation, "If-None-Match")),
                    (UNKNOWN, path.contains('{')),
                    (BODY_TIMEOUT, operation.request_body.is_some()),
                    (TOO_LARGE, operation.request_body.is_some()),
                    (NOT_JSON, operation.request_body.is_some()),
                    (UNPROCESSABLE, operation.request_body.is_some()),
                    (FAILED, operation.security.is_none()),
                    (UNAVAILABLE, operation.security.is_none()),
                ] {
                    let status = kinds[0].status().as_str().to_owned();
                    if has {
                        let responses = &mut operation.responses.responses;
                        responses
                            .entry(status)
                            .or_insert_with(|| problem(kinds).into());
                    }
                }
            }
        }
    }
}

use ProblemKind as K;
const UNAUTHORIZED: &[K] = &[K::Unauthenticated];
const FORBIDDEN: &[K] = &[K::Forbidden];
const INVALID: &[K] = &[
    K::InvalidBody,
    K::InvalidQuery,
    K::InvalidHeader,
    K::BodyAborted,
];
const OUTDATED: &[K] = &[K::PreconditionFailed];
const UNKNOWN: &[K] = &[
    K::UnknownFleet,
    K::UnknownReplica,
    K::UnknownDrill,
    K::UnknownRollout,
    K::UnknownPath,
];
const BODY_TIMEOUT: &[K] = &[K::BodyTimeout];
const TOO_LARGE: &[K] = &[K::TooLarge];
const NOT_JSON: &[K] = &[K::NotJson];
const UNPROCESSABLE: &[K] = &[
    K::InvalidChange,
    K::DoesNotFit,
    K::KeyReused,
    K::CannotRollOut,
];
const FAILED: &[K] = &[K::StartFailed, K::StopFailed, K::NotRecorded, K::Failed];
const UNAVAILABLE: &[K] = &[K::Stopping, K::Busy];

fn has_input(operation: &Operation) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    operation.request_body.is_some()
        || parameters.any(|one| match one {
            RefOr::T(one) => matches!(one.parameter_in, ParameterIn::Query | ParameterIn::Header),
            RefOr::Ref(_) => true,
        })
}

fn has_parameter(operation: &Operation, name: &str) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|one| matches!(one, RefOr::T(one) if one.name == name))
}

/// The responses, and headers of responses, that follow from headers of requests.
struct FromHeaders;

impl Modify for FromHeaders {
    fn modify(&self, api: &mut Document) {
        let operations = api.paths.paths.values_mut().flat_map(operations);
        for operation in operations {
            let reads = has_parameter(operation, "If-None-Match");
            let changes = has_parameter(operation, "If-Match");
            let may_be_async = has_parameter(operation, "Prefer");
            let responses = &mut operation.responses.responses;
            if let Some(RefOr::T(success)) = responses.get_mut("200")
                && (reads || changes)
            {
                let tag = header("The version of the fleet's configuration");
                success.headers.insert("ETag".to_owned(), tag.into());
            }
            if reads {
                let known = "Nothing has been configured since one of the ETags of If-None-Match";
                let not_modified = ResponseBuilder::new().description(known);
                responses.insert("304".to_owned(), not_modified.build().into());
            }
            if may_be_async {
                let accepted = ResponseBuilder::new()
                    .description("Taken, with `Prefer: respond-async`")
                    .header("Location", header("Where to look what becomes of it"));
                responses.insert("202".to_owned(), accepted.build().into());
            }
        }
    }
}

fn header(description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some(description))
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

/// A response that is one of these problems, which have a status in common.
fn problem(kinds: &[ProblemKind]) -> Response {
    let titles: Vec<_> = kinds
        .iter()
        .map(|kind| format!("{} (`{}`)", kind.title(), kind.path()))
        .collect();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new()
        .description(titles.join("; "))
        .content(PROBLEM_JSON, content.build())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_copy_equals_the_description() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let text = document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == text,
            "docs/openapi.json is old: UPDATE_GOLDEN=1 cargo test --lib openapi"
        );
    }
}
