//! The memory of idle connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load::Sample;
use crate::proxies::Proxy;
use crate::scenario::Scenario;
use crate::usage::{self, Cpu};

/// The time for a proxy to free memory.
const TIDY: Duration = Duration::from_secs(3);

/// Opens the connections one after the other, sends one request on each, and keeps them open.
pub fn run(scenario: &Scenario, proxy: &Proxy) -> Result<Sample, String> {
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", scenario.path);
    let before = Cpu::of(proxy.pid());
    let begun = Instant::now();
    let mut open = Vec::new();
    let mut times = Vec::new();
    let mut failed = 0;
    for _ in 0..scenario.connections {
        let asked = Instant::now();
        match ask(proxy.port, request.as_bytes()) {
            Ok(stream) => open.push(stream),
            Err(_) => failed += 1,
        }
        times.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    let took = begun.elapsed().as_secs_f64();
    sleep(TIDY);
    let resident_kib = usage::resident_kib(proxy.pid());
    // A connection that the proxy has closed costs nothing.
    failed += open.iter().filter(|stream| has_ended(stream)).count() as u64;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let requests = u64::from(scenario.connections);
    let used = Cpu::of(proxy.pid()).since(before);
    let cpu_us = used.ns as f64 / 1e3 / requests as f64;
    Ok(Sample {
        requests,
        failed,
        per_second: requests as f64 / took,
        p50_us: at(0.5),
        p99_us: at(0.99),
        cpu_us,
        user_us: cpu_us * used.user_share(),
        resident_kib,
    })
}

/// A connection on which one request has been answered.
fn ask(port: u16, request: &[u8]) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request)?;
    let mut answer = [0; 4096];
    // The response is small and comes in one packet.
    match stream.read(&mut answer)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(stream),
    }
}

fn has_ended(stream: &TcpStream) -> bool {
    let would_block = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    let looked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    !looked.is_err_and(would_block)
}
