//! Extractors: the fleet of a path, a body in JSON, the part of a list that is asked for.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::{Data, QueryConfig};
use actix_web::{FromRequest, HttpRequest};
use futures::FutureExt;
use futures::future::{Ready, ready};
use serde::Deserialize;
use serde::de::DeserializeOwned;
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

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most items to return, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Only what follows this: `next` of an earlier response.
    after: Option<String>,
}

/// The most items of a page, and how many there are by default.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;

impl PageQuery {
    /// The part of a list whose items have numbers in ascending order.
    pub fn by_number<T>(
        &self,
        mut items: Vec<T>,
        number: impl Fn(&T) -> u64,
    ) -> Result<ListPage<T>, ApiError> {
        if let Some(after) = self.after_number()? {
            items.retain(|item| number(item) > after);
        }
        Ok(ListPage::cut(items, self.limit()?, |item| {
            number(item).to_string()
        }))
    }

    /// The part of a list whose items have names; after one that is gone comes the first.
    pub fn by_name<T>(
        &self,
        mut items: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<ListPage<T>, ApiError> {
        if let Some(after) = &self.after {
            let place = items.iter().position(|item| name(item) == after);
            items.drain(..place.map_or(0, |place| place + 1));
        }
        Ok(ListPage::cut(items, self.limit()?, |item| {
            name(item).to_owned()
        }))
    }

    /// `after` as a number.
    pub fn after_number(&self) -> Result<Option<u64>, ApiError> {
        let number = self.after.as_deref().map(str::parse).transpose();
        number.map_err(|_| ApiError::InvalidQuery("after must be a whole number".to_owned()))
    }

    /// The most items that a page may have.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            _ => Err(ApiError::InvalidQuery(format!(
                "limit must be from 1 to {MAX_LIMIT}"
            ))),
        }
    }
}
