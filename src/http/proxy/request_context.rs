//! What is known of a request that is forwarded.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use actix_web::HttpRequest;

use super::access_trace::AccessTrace;
use super::request_tag::RequestTag;
use super::upgrade::Tunnel;
use crate::http::connection::state::ClientRequest;
use crate::http::context::Worker;
use crate::upstream::ReplayBody;

/// A request that is to be forwarded, and all that is known of it. It is made once and
/// referred to from then on: what the steps below keep each for themselves is in the future
/// of every request.
pub struct RequestContext<'r> {
    /// What handlers use.
    pub worker: &'r Worker,
    /// As actix-web sees it.
    pub request: &'r HttpRequest,
    /// What came beside it.
    pub client: &'r ClientRequest,
    /// Its body, if it has one.
    pub body: Option<&'r ReplayBody>,
    /// It asks for another protocol.
    pub tunnel: Option<Tunnel>,
    /// The id that it is given for want of one.
    pub fresh_id: Option<u64>,
    /// When it came.
    pub started: Instant,
    /// When its present attempt began.
    pub attempt_started: Cell<Instant>,
    /// When it has taken too long.
    pub deadline: Option<tokio::time::Instant>,
    /// Its line in the access log, if there is one.
    pub trace: Option<&'r Rc<AccessTrace>>,
}

impl RequestContext<'_> {
    /// What messages say of it.
    pub fn tag(&self) -> RequestTag {
        let settings = &self.worker.settings;
        let raw = &self.client.raw;
        let tag = RequestTag::new(self.request, raw, settings, self.fresh_id, self.started);
        tag.with_trace(self.trace)
    }

    /// The line that says that a message came through here.
    pub fn via_line(&self) -> &'static [u8] {
        let via = self.worker.settings.via.as_ref();
        via.map_or(&[], |via| via.line(false))
    }
}
