//! What the prober reports of servers that answer, hang, refuse, and whose machine is lost.

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::machine_check::tests::{lose, machine};
use super::*;

/// A time-out that no test waits for.
const NEVER: Duration = Duration::from_secs(3600);
const MAX_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Eq)]
enum Report {
    Health(HealthTransition),
    NotReady,
    Suspect(SuspectSign),
    DoubtEnded,
    DrainSilent,
}

/// Takes all reports in.
struct Reader(UnboundedSender<Report>);

impl Actor for Reader {
    type Context = Context<Self>;
}

macro_rules! reads {
    ($message:ty, $read:expr) => {
        impl Handler<$message> for Reader {
            type Result = ();

            fn handle(&mut self, message: $message, _: &mut Self::Context) {
                let read: fn($message) -> Report = $read;
                self.0.unbounded_send(read(message)).unwrap();
            }
        }
    };
}

reads!(HealthChanged, |HealthChanged(_, transition, _)| {
    Report::Health(transition)
});
reads!(ProbeFailed, |_| Report::NotReady);
reads!(InstanceSuspected, |suspected| Report::Suspect(
    suspected.sign
));
reads!(DoubtEnded, |_| Report::DoubtEnded);
reads!(DrainSilent, |_| Report::DrainSilent);

/// A server that answers when it is told to, and keeps its connections open.
struct Server(TcpListener);

impl Server {
    async fn answer(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n")
            && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0)
        {}
        // Who has not waited for it is no concern of this server's.
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        stream
    }
}

struct Scene {
    server: Server,
    /// Of the first heartbeats.
    _connections: Vec<TcpStream>,
    machine: TcpListener,
    prober: ProberHandle,
    reports: UnboundedReceiver<Report>,
}

fn id() -> InstanceId {
    InstanceId::new("Server1".parse().unwrap(), 1)
}

impl Scene {
    /// An instance that has answered its first heartbeat; the next one is not due before it is asked for.
    async fn new(timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        let (read, mut reports) = unbounded();
        let recipients = ProbeRecipients::all_of(&Reader(read).start());
        let settings = HeartbeatSettings {
            kind: HeartbeatKind::Http,
            path: "/heartbeat".to_owned(),
            method: Default::default(),
            headers: Vec::new(),
            port: None,
            statuses: "200-299".parse().unwrap(),
            body: None,
            interval: NEVER,
            timeout,
            failures: 3,
            successes: 1,
        };
        let (line, _) = Lifeline::new();
        let prober = HeartbeatProber::new(settings, recipients, line).watching_connections(true);
        let prober = ProberHandle::new(prober.start());
        let server = Server(listener);
        let (machine, address) = machine().await;
        prober.watch(id(), endpoint, Some(address));
        // On a busy machine the first answers may come too late.
        let mut connections = Vec::new();
        let answering = async {
            loop {
                connections.push(server.answer().await);
            }
        };
        let up = async {
            loop {
                match next(&mut reports).await {
                    Report::NotReady => {}
                    report => break report,
                }
            }
        };
        tokio::select! {
            () = answering => {}
            report = up => assert_eq!(report, Report::Health(HealthTransition::Up)),
        }
        // It is asked whether it can be, once.
        machine.accept().await.unwrap();
        Self {
            server,
            _connections: connections,
            machine,
            prober,
            reports,
        }
    }

    async fn next(&mut self) -> Report {
        next(&mut self.reports).await
    }

    /// What the last heartbeat that is over was missed for.
    async fn last_error(&self) -> String {
        let probes = self.prober.probes(id()).await.unwrap();
        probes.last().unwrap().error.clone().unwrap()
    }
}

async fn next(reports: &mut UnboundedReceiver<Report>) -> Report {
    let report = tokio::time::timeout(MAX_WAIT, reports.next()).await;
    report.unwrap().unwrap()
}

#[actix_web::test]
async fn a_lost_machine_is_found_out_long_before_the_timeout() {
    let mut scene = Scene::new(NEVER).await;
    lose(&scene.server.0);
    lose(&scene.machine);
    scene.prober.ask_now(id());
    let silent = Report::Suspect(SuspectSign::MachineSilent);
    assert_eq!(scene.next().await, silent);
    let error = scene.last_error().await;
    assert!(error.ends_with("nor does its machine"), "{error}");
    for _ in 1..3 {
        assert!(matches!(scene.next().await, Report::Suspect(_)));
    }
    let down = Report::Health(HealthTransition::Down);
    assert_eq!(scene.next().await, down);
}

#[actix_web::test]
async fn a_server_that_does_not_answer_has_the_whole_timeout_and_is_cleared_when_it_does() {
    let timeout = Duration::from_millis(700);
    let mut scene = Scene::new(timeout).await;
    scene.prober.ask_now(id());
    assert_eq!(scene.next().await, Report::Suspect(SuspectSign::Missed));
    let error = scene.last_error().await;
    assert!(error.ends_with("no answer within 700 ms"), "{error}");
    let server = &scene.server;
    let answering = async {
        let mut answered = Vec::new();
        loop {
            answered.push(server.answer().await);
        }
    };
    let cleared = async {
        // It may be a moment late.
        loop {
            match next(&mut scene.reports).await {
                Report::Suspect(SuspectSign::Missed) => {}
                report => break report,
            }
        }
    };
    tokio::select! {
        () = answering => {}
        report = cleared => assert_eq!(report, Report::DoubtEnded),
    }
}

#[actix_web::test]
async fn of_one_that_finishes_its_requests_silence_alone_is_reported() {
    let mut scene = Scene::new(Duration::from_millis(50)).await;
    scene.prober.follow_drain(id());
    scene.prober.ask_now(id());
    assert_eq!(scene.next().await, Report::DrainSilent);
    // One that is watched for its health is not left with a drain that has ended.
    let mut scene = Scene::new(Duration::from_millis(50)).await;
    scene.prober.unfollow_drain(id());
    scene.prober.ask_now(id());
    assert_eq!(scene.next().await, Report::Suspect(SuspectSign::Missed));
}
