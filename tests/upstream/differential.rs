//! Any request and any response, once directly and once through the balancer: what arrives
//! is the same to the byte, but for the fields that a proxy has to change.

mod message;

use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use message::Message;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{MAX_WAIT, Ringmaster};

const ROUNDS: usize = 300;
const HOST: &str = "shop.example";

/// What the balancer adds or sees to: framing, the connection, the way.
const OF_THE_PROXY: &[&str] = &[
    "connection",
    "via",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
];

/// What the server is to answer next, and what it was asked.
#[derive(Default)]
struct Script {
    answer: (Vec<u8>, bool),
    asked: Option<Message>,
}

async fn serve(listener: TcpListener, script: Rc<RefCell<Script>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let script = Rc::clone(&script);
        actix_web::rt::spawn(async move {
            let mut stream = BufReader::new(&mut stream);
            while let Some(request) = Message::read(&mut stream, false, false).await {
                if request.first_line == "GET /heartbeat HTTP/1.1" {
                    let well = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(well).await.unwrap();
                    continue;
                }
                script.borrow_mut().asked = Some(request);
                let (answer, until_end) = script.borrow().answer.clone();
                stream.write_all(&answer).await.unwrap();
                if until_end {
                    return;
                }
            }
        });
    }
}

/// Asks in two pieces, and reads the answer.
async fn ask(rng: &mut Rng, address: &str, request: &[u8], bodiless: bool) -> Message {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let cut = rng.usize(..request.len());
    stream.write_all(&request[..cut]).await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(&request[cut..]).await.unwrap();
    let mut stream = BufReader::new(&mut stream);
    let answer = Message::read(&mut stream, bodiless, true);
    let answer = tokio::time::timeout(MAX_WAIT, answer).await;
    answer.expect("an answer in time").expect("an answer")
}

#[actix_web::test]
async fn random_messages_pass_unchanged() {
    // DIFFERENTIAL_SEED repeats a run.
    let seed = match std::env::var("DIFFERENTIAL_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    let mut rng = Rng::with_seed(seed);
    let script = Rc::new(RefCell::new(Script::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let direct = listener.local_addr().unwrap().to_string();
    actix_web::rt::spawn(serve(listener, Rc::clone(&script)));
    let balancer = Ringmaster::ready(&["--workers", "1", "--upstream", &direct]).await;

    for round in 0..ROUNDS {
        let (method, request) = message::request(&mut rng, HOST);
        let (answer, until_end) = message::response(&mut rng, &method);
        let about = || {
            format!(
                "seed {seed}, round {round}\n{}\n{}",
                request.escape_ascii(),
                answer.escape_ascii()
            )
        };
        let status = &answer[9..12];
        let bodiless = method == "HEAD" || status == b"204" || status == b"304";
        script.borrow_mut().answer = (answer.clone(), until_end);
        let heard = ask(&mut rng, &direct, &request, bodiless).await;
        let asked = script.borrow_mut().asked.take().unwrap();
        let heard_through = ask(&mut rng, balancer.address(), &request, bodiless).await;
        let asked_through = script.borrow_mut().asked.take();
        let Some(asked_through) = asked_through else {
            panic!("{}\nnever came; {heard_through:?}", about());
        };

        assert_eq!(asked_through.first_line, asked.first_line, "{}", about());
        assert!(asked_through.body == asked.body, "{}", about());
        assert_eq!(
            asked_through.fields_but(OF_THE_PROXY),
            asked.fields_but(OF_THE_PROXY),
            "{}",
            about()
        );
        let framing = "transfer-encoding";
        assert_eq!(
            asked_through.text(framing),
            asked.text(framing),
            "{}",
            about()
        );

        // The reason phrase is not compared.
        assert_eq!(
            heard_through.first_line[..12],
            heard.first_line[..12],
            "{}",
            about()
        );
        assert!(heard_through.body == heard.body, "{}", about());
        let mut but = OF_THE_PROXY.to_vec();
        if heard.text("date").is_none() {
            but.push("date");
        }
        assert_eq!(
            heard_through.fields_but(&but),
            heard.fields_but(&but),
            "{}",
            about()
        );
    }
}
