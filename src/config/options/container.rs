//! The flags of `docker run` for replicas' containers: in the file the table `[fleet.container]`.

use std::net::IpAddr;

use clap::Args;

use super::super::rule::{choice, text};
use super::run::{Argv, Variable};
use crate::fleet::{ContainerOptions, DeviceOption, Gpus, MountOption, NetworkOption, Ulimit};
use crate::runtime::docker::run_options;

/// The heading of the flags; the file has them in a table.
pub const SECTION: &str = "Containers, as docker run makes them";

const VOLUME: &str = "[SOURCE:]TARGET[:OPTIONS], where SOURCE is a volume's name or an absolute \
                      path and OPTIONS are ro, rw, z, Z, nocopy or a propagation";
const MOUNT: &str = "type=bind, volume or tmpfs, source=, target=, readonly, bind-propagation=, \
                     volume-nocopy, volume-driver=, volume-opt=, volume-label=, tmpfs-size= and \
                     tmpfs-mode=, separated by commas";
const TMPFS: &str = "an absolute path, with :OPTIONS such as :rw,size=64m";
const LABEL: &str =
    "KEY=VALUE, where KEY begins with neither io.ringmaster. nor com.docker.compose.";
const NETWORK: &str = "a network's name, or name=NETWORK,alias=NAME";
const HOST: &str = "HOST:IP, or HOST:host-gateway";
const DNS: &str = "an IP address";
const USER: &str = "USER[:GROUP], names or numbers";
const GROUP: &str = "a group's name or number";
const CAPABILITY: &str = "the name of a capability, or ALL";
const ULIMIT: &str = "NAME=SOFT[:HARD], such as nofile=1024:4096; -1 is no limit";
const BYTES: &str = "1 or more, with k, m or g for KiB, MiB or GiB";
const DEVICE: &str = "HOST[:CONTAINER][:PERMISSIONS], such as /dev/fuse:/dev/fuse:rw";
const GPUS: &str =
    "all, a number, or count=, \"device=ID,ID\", driver= and \"capabilities=NAME,NAME\"";
const ENTRYPOINT: &str = "a program and its arguments, or nothing";
const WORKDIR: &str = "an absolute path";
const DRIVER: &str = "the name of a log driver";
const PAIR: &str = "KEY=VALUE";
const SIGNAL: &str = "a signal's name or number, such as SIGQUIT";
const SECURITY: &str = "no-new-privileges[=BOOL], seccomp=unconfined, builtin or a profile's file, \
                        apparmor=PROFILE, label=LABEL or systempaths=unconfined";
const BOOLS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// What `docker run` can say of a container.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = SECTION)]
pub struct ContainerFlags {
    /// Mount a volume or a path of the machine
    ///
    /// {name} and {ordinal} in the value of this flag and of those that follow become the replica's
    /// name and the number that it ends in: data-{name}:/data is a volume for each replica, which
    /// outlives its containers. A new volume belongs to root unless the image has the directory:
    /// see --user. In a variable each line is one.
    #[arg(long, value_name = "VOLUME", value_parser = text(VOLUME, run_options::volume))]
    pub volume: Vec<String>,
    /// Mount a volume, a path of the machine or memory, as docker run --mount
    ///
    /// In a variable each line is one.
    #[arg(long, value_name = "MOUNT", value_parser = text(MOUNT, run_options::mount))]
    pub mount: Vec<MountOption>,
    /// Mount a directory in memory
    ///
    /// In a variable each line is one.
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = text(TMPFS, run_options::tmpfs))]
    pub tmpfs: Vec<Variable>,
    /// Set a label
    ///
    /// In a variable each line is one.
    #[arg(long, value_name = "KEY=VALUE", value_parser = text(LABEL, run_options::label))]
    pub label: Vec<Variable>,
    /// Join a further network
    ///
    /// It has to exist. The balancer reaches replicas by --docker-network. In a variable each line
    /// is one.
    #[arg(long, value_name = "NETWORK", value_parser = text(NETWORK, run_options::network))]
    pub network: Vec<NetworkOption>,
    /// Give a host's name an address
    #[arg(long, value_name = "HOST:IP", value_parser = text(HOST, run_options::add_host))]
    pub add_host: Vec<String>,
    /// Ask this name server
    #[arg(long, value_name = "IP", value_parser = text(DNS, run_options::dns))]
    pub dns: Vec<IpAddr>,
    /// Run as this user [default: the image's; the user nobody in place of root if --replica-security is
    /// restricted]
    #[arg(long, value_name = "USER[:GROUP]", value_parser = text(USER, run_options::user))]
    pub user: Option<String>,
    /// Be in a further group
    #[arg(long, value_name = "GROUP", value_parser = text(GROUP, run_options::group))]
    pub group_add: Vec<String>,
    /// Have a capability
    ///
    /// restricted drops all others.
    #[arg(long, value_name = "CAPABILITY", value_parser = text(CAPABILITY, run_options::cap_add))]
    pub cap_add: Vec<String>,
    /// Set a limit of the kernel, such as nofile=1024:4096
    #[arg(long, value_name = "NAME=LIMIT", value_parser = text(ULIMIT, run_options::ulimit))]
    pub ulimit: Vec<Ulimit>,
    /// The size of /dev/shm [default: the engine's, 64m]
    #[arg(long, value_name = "BYTES", value_parser = text(BYTES, run_options::shm_size))]
    pub shm_size: Option<u64>,
    /// Have a device of the machine
    #[arg(long, value_name = "DEVICE", value_parser = text(DEVICE, run_options::device))]
    pub device: Vec<DeviceOption>,
    /// Have GPUs: all, a number, or as docker run --gpus says it
    #[arg(long, value_name = "GPUS", value_parser = text(GPUS, run_options::gpus))]
    pub gpus: Option<Gpus>,
    /// Replace the image's entrypoint; empty: there is none
    ///
    /// It is split into words as a shell would, but no shell runs it. The image's own command is
    /// not used then: see --command.
    #[arg(
        long, value_name = "COMMAND",
        value_parser = text(ENTRYPOINT, run_options::entrypoint)
    )]
    pub entrypoint: Option<Argv>,
    /// Start the program in this directory [default: the image's]
    #[arg(long, value_name = "PATH", value_parser = text(WORKDIR, run_options::workdir))]
    pub workdir: Option<String>,
    /// Whether an init of the engine's is process 1 [default: the engine's]
    #[arg(
        long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_name = "BOOL", value_parser = choice(BOOLS)
    )]
    pub init: Option<bool>,
    /// Where the engine writes the log [default: the engine's]
    #[arg(long, value_name = "DRIVER", value_parser = text(DRIVER, run_options::log_driver))]
    pub log_driver: Option<String>,
    /// Set an option of the log driver
    ///
    /// In a variable each line is one.
    #[arg(long, value_name = "KEY=VALUE", value_parser = text(PAIR, run_options::log_opt))]
    pub log_opt: Vec<Variable>,
    /// The signal that asks the program to end [default: the image's, else SIGTERM]
    #[arg(long, value_name = "SIGNAL", value_parser = text(SIGNAL, run_options::stop_signal))]
    pub stop_signal: Option<String>,
    /// Whether the root file system is read-only [default: true if --replica-security is restricted]
    #[arg(
        long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_name = "BOOL", value_parser = choice(BOOLS)
    )]
    pub read_only: Option<bool>,
    /// Set an option of the engine's security
    ///
    /// A seccomp profile is read at the start, and kept in the fleet record.
    #[arg(long, value_name = "OPTION", value_parser = text(SECURITY, run_options::security_opt))]
    pub security_opt: Vec<String>,
}

impl From<ContainerFlags> for ContainerOptions {
    fn from(flags: ContainerFlags) -> Self {
        Self {
            volume: flags.volume,
            mount: flags.mount,
            tmpfs: flags.tmpfs,
            label: flags.label,
            network: flags.network,
            add_host: flags.add_host,
            dns: flags.dns,
            user: flags.user,
            group_add: flags.group_add,
            cap_add: flags.cap_add,
            ulimit: flags.ulimit,
            shm_size: flags.shm_size,
            device: flags.device,
            gpus: flags.gpus,
            entrypoint: flags.entrypoint,
            workdir: flags.workdir,
            init: flags.init,
            log_driver: flags.log_driver,
            log_opt: flags.log_opt,
            stop_signal: flags.stop_signal,
            read_only: flags.read_only,
            security_opt: flags.security_opt,
        }
    }
}
