//! Instances as child processes of the balancer.
//!
//! Every child leads a process group of its own, so that Ctrl-C at a terminal reaches
//! the balancer alone, which can then finish what is in flight, and so that stopping an
//! instance also ends what it has started. A child is killed by the kernel when the
//! balancer dies (`PR_SET_PDEATHSIG`, prctl(2)).

mod child;
mod memory;
mod output;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::{
    Found, InstanceId, LastWords, LaunchOrder, ReplicaTemplate, Running, Runtime, RuntimeError,
    RuntimeEvent, Whereabouts,
};
pub use child::die_with_parent;
use child::{Child, StopOrder};
use memory::Memories;

/// The runtime of child processes.
///
/// Instances must be started from a thread that lives as long as the process: the
/// kernel takes the death of the thread that forked for the death of the parent.
pub struct ProcessRuntime {
    template: ReplicaTemplate,
    running: Rc<RefCell<HashMap<InstanceId, Known>>>,
    memories: Memories,
    exits: mpsc::UnboundedSender<RuntimeEvent>,
    exits_out: Cell<Option<mpsc::UnboundedReceiver<RuntimeEvent>>>,
}

/// A child, as long as it runs.
struct Known {
    pid: u32,
    orders: mpsc::UnboundedSender<StopOrder>,
}

impl ProcessRuntime {
    /// A runtime that starts what the template says; without a command, the built-in
    /// demo replica.
    pub fn new(template: ReplicaTemplate) -> Self {
        let (exits, exits_out) = mpsc::unbounded_channel();
        Self {
            template,
            running: Rc::default(),
            memories: Memories::default(),
            exits,
            exits_out: Cell::new(Some(exits_out)),
        }
    }

    /// The program and its arguments for one instance.
    fn command_line(&self, name: &str, port: u16) -> Result<Vec<OsString>, RuntimeError> {
        let Some(words) = &self.template.command else {
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

    fn start(&self, id: &InstanceId) -> Result<SocketAddr, RuntimeError> {
        let port = match self.template.port {
            Some(port) => match self.running.borrow().keys().next() {
                Some(other) => {
                    return Err(RuntimeError(format!(
                        "{other} has port {port}, and processes of one machine cannot share it: \
                         start the balancer without --replica-port"
                    )));
                }
                None => port,
            },
            None => free_port()?,
        };
        let name = id.replica.as_str();
        let command = self.command_line(name, port)?;
        let mut env = self.template.env.clone();
        env.push(("PORT".to_owned(), port.to_string()));
        env.push(("SERVER_ID".to_owned(), name.to_owned()));
        let memory = self.memories.begin(id);
        let child = Child::spawn(id.clone(), &command, &env, &memory);
        let child = child.inspect_err(|_| memory.ended(None))?;

        let (orders, stop_orders) = mpsc::unbounded_channel();
        let pid = child.pid();
        let known = Known { pid, orders };
        self.running.borrow_mut().insert(id.clone(), known);
        let running = Rc::clone(&self.running);
        let exits = self.exits.clone();
        let id = id.clone();
        actix::spawn(async move {
            let exit = child.live(stop_orders, &memory).await;
            running.borrow_mut().remove(&id);
            if let Some(exit) = exit {
                // Nobody listens any more only when the balancer is ending.
                let _ = exits.send(RuntimeEvent::Exited { id, exit });
            }
        });
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }
}

impl Runtime for ProcessRuntime {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Found>, RuntimeError>> {
        let checked = match self.template.command.as_deref() {
            Some([program, ..]) if find_program(program).is_none() => Err(RuntimeError(format!(
                "cannot run --command: there is no program {program:?}"
            ))),
            _ => Ok(Vec::new()),
        };
        async { checked }.boxed_local()
    }

    fn launch(&self, order: LaunchOrder) -> LocalBoxFuture<'static, Result<Running, RuntimeError>> {
        let started = self.start(&order.id);
        let id = order.id;
        async { started.map(|endpoint| Running { id, endpoint }) }.boxed_local()
    }

    fn stop(
        &self,
        id: InstanceId,
        grace: Duration,
    ) -> LocalBoxFuture<'static, Result<(), RuntimeError>> {
        let running = self.running.borrow();
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

    fn last_words(&self, id: InstanceId) -> LocalBoxFuture<'static, LastWords> {
        self.memories.last_words(&id).boxed_local()
    }

    fn whereabouts(&self, id: &InstanceId) -> Option<Whereabouts> {
        let running = self.running.borrow();
        running.get(id).map(|child| Whereabouts::Process(child.pid))
    }

    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent> {
        match self.exits_out.take() {
            Some(exits) => futures::stream::unfold(exits, |mut exits| async {
                exits.recv().await.map(|event| (event, exits))
            })
            .boxed_local(),
            None => futures::stream::pending().boxed_local(),
        }
    }
}

/// A port that nobody uses right now. Somebody else may take it before the instance
/// does; then the instance ends with an error and is started again on another port.
/// Keeping it reserved would need SO_REUSEADDR on both sides, which not every server sets.
fn free_port() -> Result<u16, RuntimeError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| RuntimeError(format!("no free port: {error}")))
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
