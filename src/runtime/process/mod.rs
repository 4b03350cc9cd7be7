//! Instances as child processes of the balancer.
//!
//! Every child leads a process group of its own, so that Ctrl-C at a terminal reaches
//! the balancer alone, which can then finish what is in flight, and so that stopping an
//! instance also ends what it has started. A child is killed by the kernel when the
//! balancer dies (`PR_SET_PDEATHSIG`, prctl(2)), and what it has started by the guardian.

mod child;
mod guardian;
mod lost_port;
mod output;
mod output_tail;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, StreamExt};
use log::{info, warn};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Definition, Event, Existing, ExitReport, InstanceEvent, InstanceHandle, InstanceId, LaunchAs,
    LaunchOrder, Launched, ReplicaTemplate, Runtime, RuntimeError, RuntimeEvent, TakenSpare, Task,
};
use crate::sys::port_claim::PortClaim;
use child::{Child, StopOrder};
use guardian::Guardian;
pub use guardian::{GUARD_COMMAND, guard};
use lost_port::{MAX_PORT_LOSSES, PortLoss, free_port};
use output_tail::{ChildRecord, ChildRecords};

/// The runtime of child processes.
///
/// Instances must be started from a thread that lives as long as the process: the
/// kernel takes the death of the thread that forked for the death of the parent.
pub struct ProcessRuntime {
    inner: Rc<Inner>,
    exits_out: Cell<Option<mpsc::UnboundedReceiver<Event>>>,
}

struct Inner {
    template: ReplicaTemplate,
    running: RefCell<HashMap<InstanceId, Known>>,
    records: ChildRecords,
    exits: mpsc::UnboundedSender<Event>,
    guardian: Option<Rc<Guardian>>,
}

/// A child, as long as it runs.
struct Known {
    pid: u32,
    port: u16,
    /// Other balancers leave a port alone that was found for the child.
    _claim: Option<PortClaim>,
    orders: mpsc::UnboundedSender<StopOrder>,
    health: Rc<Health>,
    /// As its own task knows it.
    id: SharedId,
}

/// An instance's id, which is another one when a spare is taken.
type SharedId = Rc<RefCell<InstanceId>>;

/// How far a child has come.
#[derive(Default)]
struct Health {
    /// Heartbeats go to it.
    watched: Cell<bool>,
    watch_began: Notify,
    /// It has been on the ring.
    admitted: Cell<bool>,
}

impl Health {
    async fn watched(&self) {
        while !self.watched.get() {
            self.watch_began.notified().await;
        }
    }
}

impl ProcessRuntime {
    /// A runtime that starts what the template says; without a command, the built-in
    /// demo replica.
    pub fn new(template: ReplicaTemplate) -> Self {
        Self::with(template, None)
    }

    /// The same, and a guardian ends what the children have started if this process is killed.
    /// Not for process 1, with which everything ends. The program must be `ringmaster`.
    pub fn guarded(template: ReplicaTemplate) -> Self {
        let guardian = (std::process::id() != 1).then(Rc::default);
        Self::with(template, guardian)
    }

    fn with(template: ReplicaTemplate, guardian: Option<Rc<Guardian>>) -> Self {
        let (exits, exits_out) = mpsc::unbounded_channel();
        let inner = Inner {
            template,
            running: RefCell::default(),
            records: ChildRecords::default(),
            exits,
            guardian,
        };
        Self {
            inner: Rc::new(inner),
            exits_out: Cell::new(Some(exits_out)),
        }
    }
}

impl Inner {
    /// The program and its arguments for one instance.
    fn command_line(
        template: &ReplicaTemplate,
        name: &str,
        port: u16,
    ) -> Result<Vec<OsString>, RuntimeError> {
        let Some(words) = &template.command else {
            let this_program = std::env::current_exe()
                .map_err(|error| RuntimeError(format!("cannot find my own program: {error}")))?;
            let listen = format!("127.0.0.1:{port}");
            let arguments = ["replica", "--listen", &listen, "--id", name].map(OsString::from);
            return Ok([this_program.into_os_string()]
                .into_iter()
                .chain(arguments)
                .collect());
        };
        let port = port.to_string();
        let fill = |word: &String| word.replace("{port}", &port).replace("{name}", name);
        Ok(words.iter().map(|word| fill(word).into()).collect())
    }

    fn start(
        self: &Rc<Self>,
        id: &InstanceId,
        definition: &Arc<Definition>,
    ) -> Result<SocketAddr, RuntimeError> {
        let template = &definition.template;
        let (port, claim) = match template.port {
            Some(port) => match self.running.borrow().keys().next() {
                Some(other) => {
                    return Err(RuntimeError(format!(
                        "{other} has port {port}, and processes of one machine cannot share it: \
                         start the balancer without --replica-port"
                    )));
                }
                None => (port, None),
            },
            None => {
                let (port, claim) = self.free_port()?;
                (port, Some(claim))
            }
        };
        let (child, record) = self.spawn_child(id, port, template)?;
        let (orders, stop_orders) = mpsc::unbounded_channel();
        let health = Rc::<Health>::default();
        let shared = Rc::new(RefCell::new(id.clone()));
        let known = Known {
            pid: child.pid(),
            port,
            _claim: claim,
            orders,
            health: Rc::clone(&health),
            id: Rc::clone(&shared),
        };
        self.running.borrow_mut().insert(id.clone(), known);
        let definition = Arc::clone(definition);
        let life = Rc::clone(self).live(shared, definition, child, record, stop_orders, health);
        actix::spawn(life);
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    fn spawn_child(
        &self,
        id: &InstanceId,
        port: u16,
        template: &ReplicaTemplate,
    ) -> Result<(Child, Rc<ChildRecord>), RuntimeError> {
        let name = id.replica.as_str();
        let command = Self::command_line(template, name, port)?;
        let mut env = template.env.clone();
        env.push(("PORT".to_owned(), port.to_string()));
        env.push(("SERVER_ID".to_owned(), name.to_owned()));
        let record = self.records.begin(id);
        let child = Child::spawn(id.clone(), &command, &env, &record, self.guardian.as_ref());
        let child = child.inspect_err(|_| record.ended(None))?;
        Ok((child, record))
    }

    /// A free port that no other child has been given.
    fn free_port(&self) -> Result<(u16, PortClaim), RuntimeError> {
        let running = self.running.borrow();
        free_port(|port| running.values().any(|known| known.port == port))
    }

    /// An instance's life: that of one child, or of several if ports are lost.
    async fn live(
        self: Rc<Self>,
        shared: SharedId,
        definition: Arc<Definition>,
        mut child: Child,
        mut record: Rc<ChildRecord>,
        mut stop_orders: mpsc::UnboundedReceiver<StopOrder>,
        health: Rc<Health>,
    ) {
        let mut losses = 0;
        let exit = loop {
            let Some(exit) = child.live(&mut stop_orders, &record).await else {
                break None;
            };
            let may_move = definition.template.port.is_none() && losses < MAX_PORT_LOSSES;
            if !may_move || health.admitted.get() {
                break Some(exit);
            }
            let id = shared.borrow().clone();
            let port = self.running.borrow().get(&id).map_or(0, |known| known.port);
            let words = record.exit_report().await;
            let Some(loss) = PortLoss::of(port, &words.lines) else {
                break Some(exit);
            };
            // The fleet must know the first address before it can be told of another.
            tokio::select! {
                () = health.watched() => {}
                Some(order) = stop_orders.recv() => {
                    // The caller may have stopped waiting.
                    let _ = order.done.send(());
                    break None;
                }
            }
            losses += 1;
            // It may have been taken meanwhile.
            let id = shared.borrow().clone();
            match self.start_elsewhere(&id, &loss, &definition.template) {
                Ok(started) => (child, record) = started,
                Err(error) => {
                    warn!("{id}: {loss}, and it cannot be started again: {error}");
                    break Some(exit);
                }
            }
        };
        let id = shared.borrow().clone();
        self.running.borrow_mut().remove(&id);
        if let Some(exit) = exit {
            // The receiver is gone only when the balancer is ending.
            let exited = Event::Instance(id, InstanceEvent::Exited(exit));
            let _ = self.exits.send(exited);
        }
    }

    /// Starts an instance once more, on another port.
    fn start_elsewhere(
        &self,
        id: &InstanceId,
        loss: &PortLoss,
        template: &ReplicaTemplate,
    ) -> Result<(Child, Rc<ChildRecord>), RuntimeError> {
        let (port, claim) = self.free_port()?;
        let (child, record) = self.spawn_child(id, port, template)?;
        if let Some(known) = self.running.borrow_mut().get_mut(id) {
            (known.pid, known.port, known._claim) = (child.pid(), port, Some(claim));
        }
        info!("{id}: {loss}; started again on port {port}");
        // As above.
        let endpoint = (Ipv4Addr::LOCALHOST, port).into();
        let moved = InstanceEvent::Moved(Some(endpoint), loss.to_string());
        let _ = self.exits.send(Event::Instance(id.clone(), moved));
        Ok((child, record))
    }
}

impl Runtime for ProcessRuntime {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Existing>, RuntimeError>> {
        let checked = check_program(&self.inner.template, "--command").map(|()| Vec::new());
        async { checked }.boxed_local()
    }

    fn port_hint(&self, _: u16) -> Option<String> {
        let hint = match self.inner.template.port {
            Some(_) => "--replica-port says where the program listens",
            None => "the program has to listen on $PORT, or on {port} in --command",
        };
        Some(hint.to_owned())
    }

    fn prepare_rollout(&self, definition: Definition, beside: bool) -> Task<()> {
        let checked = match (&definition.template, beside) {
            (
                ReplicaTemplate {
                    port: Some(port), ..
                },
                true,
            ) => Err(RuntimeError(format!(
                "processes of one machine cannot share port {port}: a rollout needs \
                 --rollout-order stop-first, or no --replica-port"
            ))),
            (template, _) => check_program(template, "the command"),
        };
        async { checked }.boxed_local()
    }

    fn launch(
        &self,
        order: LaunchOrder,
        definition: &Arc<Definition>,
        _: LaunchAs,
    ) -> Task<Launched> {
        let started = self.inner.start(&order.id, definition);
        let id = order.id;
        async { started.map(|endpoint| Launched::ordered(id, endpoint)) }.boxed_local()
    }

    fn refusal_of_extra(&self) -> Option<String> {
        None
    }

    fn take_spare(
        &self,
        spare: InstanceId,
        order: LaunchOrder,
    ) -> LocalBoxFuture<'static, TakenSpare> {
        // Now, not at the first poll: its end is the replica's from here on.
        let mut running = self.inner.running.borrow_mut();
        let taken = match running.remove(&spare) {
            Some(known) => {
                let id = order.id;
                known.id.borrow_mut().clone_from(&id);
                running.insert(id.clone(), known);
                self.inner.records.rename(&spare, &id);
                TakenSpare::Plays(id)
            }
            None => TakenSpare::Gone,
        };
        async { taken }.boxed_local()
    }

    fn stop(&self, id: InstanceId, grace: Duration) -> Task<()> {
        let running = self.inner.running.borrow();
        let child = running.get(&id).map(|child| child.orders.clone());
        async move {
            if let Some(child) = child {
                let (done, stopped) = oneshot::channel();
                // Either end may be gone already because the child is: that is fine.
                let _ = child.send(StopOrder { grace, done });
                let _ = stopped.await;
            }
            Ok(())
        }
        .boxed_local()
    }

    fn exit_report(&self, id: InstanceId) -> LocalBoxFuture<'static, ExitReport> {
        self.inner.records.exit_report(&id).boxed_local()
    }

    fn on_probing_started(&self, id: &InstanceId, _: SocketAddr) {
        if let Some(known) = self.inner.running.borrow().get(id) {
            known.health.watched.set(true);
            known.health.watch_began.notify_waiters();
        }
    }

    fn on_admitted(&self, id: &InstanceId) {
        if let Some(known) = self.inner.running.borrow().get(id) {
            known.health.admitted.set(true);
        }
    }

    fn instance_handle(&self, id: &InstanceId) -> Option<InstanceHandle> {
        let running = self.inner.running.borrow();
        running
            .get(id)
            .map(|child| InstanceHandle::Process(child.pid))
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        match self.exits_out.take() {
            Some(exits) => futures::stream::unfold(exits, |mut exits| async {
                exits.recv().await.map(|event| (event.into(), exits))
            })
            .boxed_local(),
            None => futures::stream::pending().boxed_local(),
        }
    }
}

/// Whether there is a program to run; `what` says it.
fn check_program(template: &ReplicaTemplate, what: &str) -> Result<(), RuntimeError> {
    match template.command.as_deref() {
        Some([program, ..]) if find_program(program).is_none() => Err(RuntimeError(format!(
            "cannot run {what}: there is no program {program:?}"
        ))),
        _ => Ok(()),
    }
}

/// The file that running `program` would run, looked up as execvp(3) does.
fn find_program(program: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runnable = |path: &Path| {
        path.metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = Path::new(program).to_owned();
        return runnable(&path).then_some(path);
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| runnable(path))
}

#[cfg(test)]
mod tests;
