//! Lets requests that a pause has held go, over a second.

use std::cell::Cell;
use std::time::Instant;

use actix::{AsyncContext, Context, SpawnHandle};

use super::{MAX_MISSES, ProxyWorker, grant};
use crate::actors::admission::{RELEASE_STEPS, RELEASE_TIME};

/// Requests that were held are let go, step by step: all at once would meet a database that has only
/// just come back.
pub(super) struct Release {
    /// How many in each step.
    per_step: usize,
    steps_left: u32,
    timer: SpawnHandle,
}

impl ProxyWorker {
    /// Begins to let held requests go.
    pub(super) fn begin_release(&mut self, ctx: &mut Context<Self>) {
        self.waiting.note_held(Instant::now() + RELEASE_TIME);
        if self.waiting.is_empty() {
            return;
        }
        let steps = usize::try_from(RELEASE_STEPS).unwrap_or(usize::MAX);
        let timer = ctx.run_interval(RELEASE_TIME / RELEASE_STEPS, |worker, ctx| {
            worker.step_release(ctx);
        });
        self.release = Some(Release {
            per_step: self.waiting.len().div_ceil(steps),
            steps_left: RELEASE_STEPS,
            timer,
        });
    }

    fn step_release(&mut self, ctx: &mut Context<Self>) {
        let (Some(release), Some(view)) = (&mut self.release, self.view.as_deref()) else {
            return;
        };
        let left = Cell::new(release.per_step);
        self.waiting.dispatch(MAX_MISSES, |wanted| {
            let fewer = left.get().checked_sub(1)?;
            let granted = grant(view, wanted)?;
            left.set(fewer);
            Some(granted)
        });
        release.steps_left -= 1;
        if release.steps_left == 0 {
            self.end_release(ctx);
            self.dispatch_waiting(usize::MAX);
        }
    }

    pub(super) fn end_release(&mut self, ctx: &mut Context<Self>) {
        if let Some(release) = self.release.take() {
            ctx.cancel_future(release.timer);
        }
    }
}
