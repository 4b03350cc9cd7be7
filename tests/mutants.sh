#!/usr/bin/env bash
# `make mutants`: changes ring, fleet, h1 and retry in fixed places, one at a time, and counts how
# many changes the unit tests notice. docs/mutants.md has the result.
#
# ring, fleet and h1 are pure, so they are built as a library of their own: a mutant then costs a few
# seconds instead of a build of the whole balancer. retry needs the balancer's library.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo mutants --version >/dev/null || { echo 'cargo install --locked cargo-mutants' >&2; exit 1; }
out=target/mutants
rm -rf "$out"
mkdir -p "$out/source"

git ls-files -z -- Cargo.lock .cargo/mutants.toml server \
  src/api src/ring src/fleet src/h1 src/human.rs | xargs -0 cp --parents -t "$out/source"
# Without programs of tests and benches, which each mutant would build again.
sed -e '/^\[\[/,/^$/d' -e '/^ringmaster = /d' Cargo.toml >"$out/source/Cargo.toml"
cat >"$out/source/src/lib.rs" <<'RUST'
//! The pure layers alone.
pub mod api;
pub mod fleet;
pub mod h1;
mod human;
pub mod ring;
RUST
echo '//! Nothing runs.
fn main() {}' >"$out/source/src/main.rs"

# 2: some were missed, 3: some took too long (they loop: that is noticed, too).
run() {
  local code=0
  cargo mutants --jobs 2 "$@" || code=$?
  case $code in 0 | 2 | 3) ;; *) exit "$code" ;; esac
}
run --dir "$out/source" --output "$out/pure" --shard 0/5 --sharding round-robin
# --file would add to what the configuration examines.
run --exclude 'src/ring/**' --exclude 'src/fleet/**' --exclude 'src/h1/**' --output "$out/retry" --shard 0/2 --sharding round-robin

caught=$(cat "$out"/*/mutants.out/{caught,timeout}.txt | wc -l)
missed=$(cat "$out"/*/mutants.out/missed.txt | wc -l)
all=$((caught + missed))
echo "$caught of $all mutants are noticed"
[ $((caught * 100)) -ge $((all * 95)) ]
