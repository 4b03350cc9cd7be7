//! Extractors: the fleet of a path, a body in JSON, the part of a list that is asked for.

use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::web::{Data, PathConfig, QueryConfig};
use actix_web::{FromRequest, HttpRequest};
use futures::FutureExt;
use futures::future::{Ready, ready};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::error::ApiError;
use super::handles::AdminHandles;
use super::json::read_json;
use crate::api::{DEFAULT_FLEET, ListPage};

/// A path's `{fleet}`, which exists.
pub struct FleetPath;

impl FromRequest for FleetPath {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match request.match_info().get("fleet") {
            Some(DEFAULT_FLEET) => Ok(Self),
            other => Err(ApiError::UnknownFleet(other.unwrap_or_default().to_owned())),
        })
    }
}

/// A body that must be JSON and say so.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        async move {
            let handles = request.app_data::<Data<AdminHandles>>();
            let pause = handles.ok_or(ApiError::Unavailable)?.body_timeout;
            read_json(&request, &mut payload, pause).await.map(Self)
        }
        .boxed_local()
    }
}

/// Reads queries with errors of ours.
pub fn query_config() -> QueryConfig {
    QueryConfig::default().error_handler(|error, _| {
        let wrong = match error {
            actix_web::error::QueryPayloadError::Deserialize(error) => error.to_string(),
            error => error.to_string(),
        };
        ApiError::InvalidQuery(wrong).into()
    })
}

/// Reads paths with errors of ours.
pub fn path_config() -> PathConfig {
    PathConfig::default().error_handler(|_, _| ApiError::UnknownPath.into())
}

/// Which part of a list of names is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most items to return, 1 to 1000.
    #[serde(default, deserialize_with = "limit")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Only what follows this: `next` of an earlier response.
    after: Option<String>,
}

/// Which part of a list whose items have numbers is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NumberPageQuery {
    /// The most items to return, 1 to 1000.
    #[serde(default, deserialize_with = "limit")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Only what follows this number: `next` of an earlier response.
    #[serde(default, deserialize_with = "after")]
    pub after: Option<u64>,
}

/// Whether a change is only computed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRunQuery {
    /// Compute the effect, and change nothing.
    #[serde(default, deserialize_with = "dry_run")]
    #[param(default = false)]
    pub dry_run: bool,
}

fn dry_run<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    flag(from, "dry_run")
}

/// The most items of a page, and how many there are by default.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;

impl PageQuery {
    /// The part of a list; after a name that is gone comes the first.
    pub fn page<T>(
        &self,
        mut items: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<ListPage<T>, ApiError> {
        if let Some(after) = &self.after {
            let place = items.iter().position(|item| name(item) == after);
            items.drain(..place.map_or(0, |place| place + 1));
        }
        let limit = check_limit(self.limit)?;
        Ok(ListPage::cut(items, limit, |item| name(item).to_owned()))
    }
}

impl NumberPageQuery {
    /// The part of a list whose numbers ascend.
    pub fn page<T>(
        &self,
        mut items: Vec<T>,
        number: impl Fn(&T) -> u64,
    ) -> Result<ListPage<T>, ApiError> {
        if let Some(after) = self.after {
            items.retain(|item| number(item) > after);
        }
        Ok(ListPage::cut(items, self.limit()?, |item| {
            number(item).to_string()
        }))
    }

    /// The most items that a page may have.
    pub fn limit(&self) -> Result<usize, ApiError> {
        check_limit(self.limit)
    }
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    value(from, "limit", "from 1 to 1000")
}

/// What `after` may be.
const AFTER: &str = "a whole number from 0 to 9223372036854775807";

fn after<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    // As the description has it: 64 bits with a sign.
    let after: Option<u64> = value(from, "after", AFTER)?;
    match after.is_none_or(|after| i64::try_from(after).is_ok()) {
        true => Ok(after),
        false => Err(D::Error::custom(format_args!("after must be {AFTER}"))),
    }
}

/// Yes or no in a query.
pub fn flag<'de, D: Deserializer<'de>>(from: D, name: &str) -> Result<bool, D::Error> {
    Ok(value(from, name, "true or false")?.unwrap_or_default())
}

/// A value of a query, and what is allowed: the reader of queries would not say which is wrong.
pub fn value<'de, D: Deserializer<'de>, T: FromStr>(
    from: D,
    name: &str,
    allowed: &str,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = |_| D::Error::custom(format_args!("{name} must be {allowed}"));
    text.parse().map(Some).map_err(wrong)
}

fn check_limit(limit: Option<usize>) -> Result<usize, ApiError> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ApiError::InvalidQuery(format!(
            "limit must be from 1 to {MAX_LIMIT}"
        ))),
    }
}
