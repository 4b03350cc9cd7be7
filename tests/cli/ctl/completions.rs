//! Completions in a real bash.

use super::start;
use crate::support::Ringmaster;

/// What bash offers for the last word of a command line.
async fn offers(balancer: &Ringmaster, words: &[&str]) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_ringmaster");
    let folder = std::path::Path::new(program).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    // As readline does it: with the words, the place of the last one, and a key that asks for a list.
    let script = format!(
        "source <(ringmaster ctl completions bash)\n\
         COMP_WORDS=(ringmaster {words}); COMP_CWORD={last}; COMP_TYPE=63\n\
         COMP_LINE=\"${{COMP_WORDS[*]}}\"; COMP_POINT=${{#COMP_LINE}}\n\
         complete -p ringmaster >&2 || exit 3\n\
         f=$(complete -p ringmaster | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         $f ringmaster \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words = quoted.join(" "),
        last = words.len(),
    );
    let output = tokio::process::Command::new("bash")
        .args(["--norc", "-c", &script])
        .env("PATH", path)
        .env("RINGMASTER_ADMIN_URL", balancer.admin_url().await)
        .env_remove("RINGMASTER_ADMIN_TOKEN")
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[actix_web::test]
async fn bash_completes_commands_flags_and_names_of_replicas() {
    let balancer = start().await;
    for (words, offered) in [
        (&["ctl", "st"][..], &["status"][..]),
        (&["ctl", "un"], &["undrain"]),
        (&["ctl", "rm", ""], &["Server1", "Server2", "Server3"]),
        (
            &["ctl", "rm", "Server1", "Server2", "Server3", "S"],
            &["Server1", "Server2", "Server3"],
        ),
        (&["ctl", "weight", "Server2"], &["Server2"]),
        (&["ctl", "--fl"], &["--fleet"]),
        // What the line says counts: nothing listens there.
        (&["ctl", "--admin", "http://127.0.0.1:1", "rm", "S"], &[]),
    ] {
        let found = offers(&balancer, words).await;
        for name in offered {
            assert!(found.iter().any(|one| one == name), "{words:?}: {found:?}");
        }
        if offered.is_empty() {
            assert!(
                found.iter().all(|one| !one.starts_with("Server")),
                "{words:?}: {found:?}"
            );
        }
    }
}

#[test]
fn every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args(["ctl", "completions", shell])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}: {output:?}");
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("RINGMASTER_COMPLETE"), "{script}");
    }
}
