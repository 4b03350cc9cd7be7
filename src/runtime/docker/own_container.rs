//! The container that this balancer runs in, if it is one of the engine's.

use bollard::models::ContainerInspectResponse;

use crate::runtime::docker::engine::Engine;

const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// What the engine mounts into each container, from the container's own folder.
const MOUNTED_FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// The length of a container's id.
const ID_LEN: usize = 64;

/// What the engine knows of the container that this process runs in. None outside of one, or
/// in one of another engine.
pub(crate) async fn own_container(engine: &Engine) -> Option<ContainerInspectResponse> {
    // From the kernel: no disk is waited for.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let id = container_id(&mounts)?;
    engine.handshake().await.ok()?;
    engine.inspect(id).await.ok()
}

/// Project and service of compose, if this process runs in a container of one.
pub(crate) async fn compose_service() -> Option<(String, String)> {
    let engine = Engine::from_env().ok()?;
    let mut labels = own_container(&engine).await?.config?.labels?;
    let mut label = |key| {
        labels
            .remove(key)
            .filter(|value: &String| !value.is_empty())
    };
    Some((label(COMPOSE_PROJECT)?, label(COMPOSE_SERVICE)?))
}

/// The id in the path of a file that the engine has mounted (proc_pid_mountinfo(5): the root
/// of the mount is the fourth field, its place the fifth).
fn container_id(mounts: &str) -> Option<&str> {
    let is_id = |part: &&str| part.len() == ID_LEN && part.bytes().all(|b| b.is_ascii_hexdigit());
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let mounted = MOUNTED_FILES.contains(&place);
        root.split('/').find(is_id).filter(|_| mounted)
    })
}

#[cfg(test)]
mod tests {
    use super::container_id;

    #[test]
    fn a_container_is_known_by_the_files_that_the_engine_mounts() {
        let id = "4f1c".repeat(16);
        let root = format!("/var/lib/docker/containers/{id}");
        let mounts = format!(
            "606 566 0:49 / / rw,relatime - overlay overlay rw\n\
             611 606 254:1 {root}/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw\n"
        );
        assert_eq!(container_id(&mounts), Some(id.as_str()));
        // What a host has of its containers.
        let host = format!("99 25 0:52 {root}/mounts/shm {root}/mounts/shm rw - tmpfs shm rw\n");
        assert_eq!(container_id(&host), None);
        assert_eq!(container_id("1 2 3\n"), None);
    }
}
