//! `bench-pingora LISTEN BACKEND...`: a proxy as Pingora's own tutorial writes it, with
//! ketama hashing of a random key and one thread.

use async_trait::async_trait;
use pingora_core::prelude::*;
use pingora_core::server::configuration::ServerConf;
use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::consistent::KetamaHashing;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Balancer(LoadBalancer<KetamaHashing>);

#[async_trait]
impl ProxyHttp for Balancer {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let key = fastrand::u64(..).to_le_bytes();
        let backend = self.0.select(&key, 16).ok_or(Error::new_str("no backend"))?;
        Ok(Box::new(HttpPeer::new(backend, false, String::new())))
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let listen = args.next().expect("LISTEN");
    if listen == "--version" {
        println!("pingora 0.9");
        return;
    }
    let backends = LoadBalancer::try_from_iter(args).expect("BACKEND...");
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Balancer(backends));
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
