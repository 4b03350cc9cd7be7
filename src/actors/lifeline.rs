//! The process does not outlive a control actor.

use std::cell::Cell;
use std::rc::Rc;

use log::error;
use tokio::sync::mpsc;

/// Held by each control actor; says so when the actor is dropped before its time, which
/// is what a panic in a handler comes to.
pub struct Lifeline {
    actor: &'static str,
    ended: mpsc::UnboundedSender<&'static str>,
    orderly: Rc<Cell<bool>>,
}

/// The other end: hears of the actor that ended.
pub struct LifelineWatch {
    ended: mpsc::UnboundedReceiver<&'static str>,
    orderly: Rc<Cell<bool>>,
}

impl Lifeline {
    /// A line to hold, to be cut for each actor with [`Lifeline::of`], and its other end.
    pub fn new() -> (Self, LifelineWatch) {
        let (ended_in, ended) = mpsc::unbounded_channel();
        let orderly = Rc::new(Cell::new(false));
        let line = Self {
            actor: "",
            ended: ended_in,
            orderly: Rc::clone(&orderly),
        };
        (line, LifelineWatch { ended, orderly })
    }

    /// The line that an actor of this name holds.
    pub fn of(&self, actor: &'static str) -> Self {
        Self {
            actor,
            ended: self.ended.clone(),
            orderly: Rc::clone(&self.orderly),
        }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if !self.actor.is_empty() && !self.orderly.get() {
            error!("the {} has ended unexpectedly", self.actor);
            // The receiver is gone only when the process is ending.
            let _ = self.ended.send(self.actor);
        }
    }
}

impl LifelineWatch {
    /// The name of the first control actor that ends; pending for ever if none does.
    pub async fn first_end(&mut self) -> &'static str {
        match self.ended.recv().await {
            Some(actor) => actor,
            None => std::future::pending().await,
        }
    }

    /// From now on an actor's end is what is wanted.
    pub fn expect_ends(&self) {
        self.orderly.set(true);
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Context, Handler, Message};
    use futures::FutureExt;

    use super::*;

    struct Fragile {
        _lifeline: Lifeline,
    }

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Break;

    impl Handler<Break> for Fragile {
        type Result = ();

        fn handle(&mut self, _: Break, _: &mut Self::Context) {
            panic!("on purpose");
        }
    }

    #[actix_web::test]
    async fn an_actor_that_panics_is_named() {
        let (line, mut watch) = Lifeline::new();
        let actor = Fragile {
            _lifeline: line.of("fragile actor"),
        }
        .start();
        actor.do_send(Break);
        assert_eq!(watch.first_end().await, "fragile actor");
    }

    #[actix_web::test]
    async fn an_end_that_is_expected_is_none() {
        let (line, mut watch) = Lifeline::new();
        watch.expect_ends();
        drop(line.of("some actor"));
        assert_eq!(watch.first_end().now_or_never(), None);
    }
}
