//! Faults of a container's network, made inside it: rules and queues in its namespace.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Stdio;

use tokio::process::Command;

use crate::docker::skip;

/// Whether this machine lets us into a container's network. Under CI it has to.
pub fn is_reachable() -> bool {
    let works = |program: &&str| {
        let mut asked = std::process::Command::new(program);
        asked.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    let missing = ["nsenter", "iptables", "tc"]
        .into_iter()
        .find(|p| !works(p));
    match (missing, rustix::process::geteuid().is_root()) {
        (Some(program), _) => skip(&format!("faults of the network take {program}")),
        (None, false) => skip("faults of the network take root"),
        (None, true) => return true,
    }
    false
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// One packet in twenty to the replica is lost.
    Loss,
    /// One packet in fifty that carries a request is answered with a reset.
    Resets,
    /// The same of packets that carry nothing, such as what acknowledges a part of an answer.
    CutAnswers,
    /// Every packet to the replica is lost.
    Silence,
    /// What the replica sends goes out slowly, and late.
    Narrow,
}

impl NetworkFault {
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Resets => "resets",
            Self::CutAnswers => "cut-answers",
            Self::Silence => "silence",
            Self::Narrow => "narrow",
        }
    }

    fn begin(self) -> &'static str {
        match self {
            Self::Loss => {
                "iptables -A INPUT -p tcp --dport 5000 \
                 -m statistic --mode random --probability 0.05 -j DROP"
            }
            Self::Resets => {
                "iptables -A INPUT -p tcp --dport 5000 -m length --length 100:65535 \
                 -m statistic --mode random --probability 0.02 -j REJECT --reject-with tcp-reset"
            }
            Self::CutAnswers => {
                "iptables -A INPUT -p tcp --dport 5000 -m length --length 0:99 \
                 --tcp-flags SYN,FIN,RST NONE \
                 -m statistic --mode random --probability 0.02 -j REJECT --reject-with tcp-reset"
            }
            Self::Silence => "iptables -A INPUT -p tcp --dport 5000 -j DROP",
            Self::Narrow => "tc qdisc add dev eth0 root tbf rate 2mbit burst 16kb latency 200ms",
        }
    }

    fn end(self) -> &'static str {
        match self {
            Self::Loss | Self::Resets | Self::CutAnswers | Self::Silence => "iptables -F INPUT",
            Self::Narrow => "tc qdisc del dev eth0 root",
        }
    }

    pub async fn inject(self, namespace: &File) {
        let said = run(namespace, self.begin()).await;
        assert_eq!(said, Ok(()), "this kernel cannot do it");
    }

    /// What is gone by now needs no relief.
    pub async fn clear(self, namespace: &File) {
        let _ = run(namespace, self.end()).await;
    }
}

async fn run(namespace: &File, command: &str) -> Result<(), String> {
    let ours = std::process::id();
    let net = format!("--net=/proc/{ours}/fd/{}", namespace.as_raw_fd());
    let output = Command::new("nsenter")
        .arg(net)
        .args(command.split_whitespace())
        .output()
        .await
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
