# `make` alone lists what there is.

# The plug-in if it is there, else the older program of its own.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# What compose.yaml makes of RINGMASTER_FLEET and .env.
fleet = $$($(COMPOSE) config | sed -n 's/^ *RINGMASTER_FLEET: *//p' | tr -d '"')
replicas = docker ps --all --quiet --filter label=io.ringmaster.fleet=$(fleet)

.DEFAULT_GOAL := help
.PHONY: mutants help run analysis analysis-compose build up stop restart logs down test test-full chaos bench bench-swarm bench-large-swarm bench-autoscale bench-rollout bench-ring bench-instructions bench-slow-clients bench-access-log check fmt

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## balancer and replicas as processes of this machine; no Docker
	cargo run --release

analysis: ## the four experiments with a balancer of its own; writes analysis/
	cargo run --profile dist --features analyze -- analyze $(ARGS)

# At the container's own address: the engine's proxy for published ports does not survive so
# many connections.
inspect = $$(docker inspect --format '$(1)' $$($(COMPOSE) ps --quiet ringmaster))
address = $(call inspect,{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}})

analysis-compose: ## the same with the compose stack; writes docs/analysis/
	cargo build --profile dist --features analyze
	RINGMASTER_ADMIN=0.0.0.0:5001 $(MAKE) up
	set -- $(address); target/dist/ringmaster analyze \
	  --url http://$$1:5000 --admin http://$$1:5001 \
	  --pid $(call inspect,{{.State.Pid}}) --out docs/analysis $(ARGS)
	$(MAKE) down

build: ## both images, of the balancer and of the demo server
	$(COMPOSE) build

up: ## everything in containers, in the background; waits until it answers
	$(COMPOSE) up --detach --build
	@for try in $$(seq 120); do \
	  if $(COMPOSE) exec -T ringmaster /ringmaster healthcheck >/dev/null 2>&1; then \
	    at=$$($(COMPOSE) port ringmaster 5000 | sed 's/^0\.0\.0\.0:/localhost:/'); \
	    printf '\nRingmaster answers on http://%s. Try:\n' "$$at"; \
	    printf '  curl http://%s/home\n  curl http://%s/rep\n' "$$at" "$$at"; \
	    printf '  docker kill %s-Server1 && make logs\n  make down\n' "$(fleet)"; \
	    exit 0; \
	  fi; \
	  sleep 0.5; \
	done; \
	echo 'Ringmaster does not answer; its last words:' >&2; \
	$(COMPOSE) logs --tail 20 ringmaster >&2; \
	exit 1

stop: ## stop balancer and replicas; `make up` starts them again
	$(COMPOSE) stop

restart: ## stop, then start again
	$(COMPOSE) stop
	$(MAKE) up

logs: ## follow the balancer's log (a replica's: docker logs ringmaster-Server1)
	@trap 'exit 0' INT; $(COMPOSE) logs --follow --tail 100 ringmaster

# The balancer takes its replicas along when it stops. One that was killed could not:
# what it left goes by its label, and before the network that it hangs on.
down: ## remove balancer, replicas and networks, whatever became of them
	$(COMPOSE) stop
	@left=$$($(replicas)); [ -z "$$left" ] || docker rm --force --volumes $$left
	$(COMPOSE) down --remove-orphans

# Most tests wait for processes, heartbeats and time-outs, and leave the cores idle meanwhile.
test_threads = RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) * 3))}

test: ## all tests but the longest; those that need Docker only where an engine answers
	$(test_threads) cargo test --workspace
	@docker version >/dev/null 2>&1 || \
	  echo 'SKIPPED: no Docker engine answers, so nothing above was tested on containers.'

test-full: ## the longest: rollouts and spares of containers, compose, a Swarm, engines that fail, faults, Chromium, schemathesis
	cargo test --workspace --tests -- --ignored
	cargo build
	cargo test --manifest-path tests/browser/Cargo.toml --target-dir target/browser

mutants: ## changes ring, fleet, h1 and retry in 531 fixed places: unit tests notice 95 % or it fails
	tests/mutants.sh

chaos: ## faults under constant load; fails if a promise is broken (ARGS='--seed 2 --rounds 3 --runtime swarm')
ifneq (,$(findstring --runtime swarm,$(ARGS)))
	RINGMASTER_CHAOS='$(ARGS)' cargo test --test swarm chaos -- --ignored --nocapture
else
	cargo test --release --test chaos -- --timed --out target/chaos $(ARGS)
endif

bench-swarm: ## Ringmaster beside a Swarm's own healing, on three nodes of this machine
	RINGMASTER_FIGURES=all cargo test --test swarm figures -- --ignored --nocapture

bench-large-swarm: ## what a fleet of 1,000 replicas on 50 nodes costs a Swarm's managers, simulated
	cargo test --lib large_swarm -- --nocapture

# cargo bench builds a ringmaster of its own, without LTO: into a folder of its own, lest it replace
# target/dist/ringmaster.

bench: ## beside nginx, HAProxy, Envoy and Pingora: CPU per request, latency, memory
	benches/peers/get
	cargo build --profile dist
	mkdir -p target/peers && cp target/dist/ringmaster target/peers/ringmaster
	cargo bench --target-dir target/bench --bench peers -- $(ARGS)

bench-rollout: ## rollout, undo and rollback under load, beside docker compose and a script; fails if a request does
	cargo build --profile dist
	cargo bench --target-dir target/bench --bench rollout -- $(ARGS)

bench-instructions: ## instructions a request, by valgrind (ARGS='--beside OTHER --at-most 1')
	cargo build --profile dist
	cargo bench --target-dir target/bench --bench instructions -- $(ARGS)

bench-slow-clients: ## the latency of healthy clients beside 1,500 slow ones; fails if p99 doubles
	cargo build --profile dist
	cargo bench --target-dir target/bench --bench slow_clients -- $(ARGS)

bench-access-log: ## CPU per request with the access log beside without; fails above 1.10
	cargo build --profile dist
	cargo bench --target-dir target/bench --bench access_log -- $(ARGS)

bench-autoscale: ## --target-in-flight beside Kubernetes' HPA, on simulated load
	cargo bench --target-dir target/bench --bench autoscale

bench-ring: ## look-up, build, balance and moved keys of every strategy, beside other crates
	cargo bench --target-dir target/bench --bench ring_balance
	cargo bench --target-dir target/bench --bench ring
	cargo bench --target-dir target/bench --bench bounded_load

check: ## formatting, lints, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --bins -- -D warnings  # without `analyze`
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

fmt: ## format the code
	cargo fmt --all
