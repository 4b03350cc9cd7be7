//! Tests of the Swarm runtime as a whole, without a Swarm.

mod large_swarm;
