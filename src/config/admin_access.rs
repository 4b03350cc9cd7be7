//! Who may list, add and remove replicas (`--admin-calls`, `--admin-host`).

/// What the client port does with `/rep`, `/add` and `/rm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminCalls {
    /// They are served for everyone.
    On,
    /// They are paths of the application's.
    Off,
    /// `/rep` is served for everyone, changes for clients of this machine.
    #[default]
    Local,
}

impl AdminCalls {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Local => "local",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        [Self::On, Self::Off, Self::Local]
            .into_iter()
            .find(|calls| calls.name() == text)
            .ok_or_else(|| "neither on nor off nor local".to_owned())
    }
}

/// Who may list, add and remove replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminAccess {
    /// What the client port does with the calls.
    pub calls: AdminCalls,
    /// Names of this balancer besides `localhost`, in lower case: a Host header may have them.
    pub hosts: Vec<String>,
}
