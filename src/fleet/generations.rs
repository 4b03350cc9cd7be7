//! Which generations have been handed out.

use std::collections::HashMap;

use crate::ring::ReplicaName;

/// How many names are kept one by one.
const REMEMBERED: usize = 4096;

/// Never hands out a generation of a name twice, not even after the replica has been
/// removed and another has been added under its name: a late report about the old
/// instance would be taken for one about the new.
#[derive(Debug, Default)]
pub struct Generations {
    newest: HashMap<ReplicaName, u64>,
    /// No forgotten name had a higher one.
    floor: u64,
}

impl Generations {
    /// A generation that no instance of this name has had.
    pub fn next(&mut self, name: &ReplicaName) -> u64 {
        let next = self.newest(name).saturating_add(1);
        self.saw(name, next);
        next
    }

    /// Takes note of an instance that another balancer started.
    pub fn saw(&mut self, name: &ReplicaName, generation: u64) {
        let newest = self.newest(name).max(generation);
        if self.newest.len() >= REMEMBERED && !self.newest.contains_key(name) {
            self.forget();
        }
        self.newest.insert(name.clone(), newest);
    }

    fn newest(&self, name: &ReplicaName) -> u64 {
        self.newest.get(name).copied().unwrap_or(self.floor)
    }

    /// Names come and go for as long as the balancer runs. Forgetting them all at once
    /// costs no more than a jump in numbers that have no meaning but their order.
    fn forget(&mut self) {
        let highest = self.newest.values().copied().max();
        self.floor = self.floor.max(highest.unwrap_or(0));
        self.newest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_never_handed_out_twice() {
        let name: ReplicaName = "Server1".parse().unwrap();
        let mut generations = Generations::default();
        assert_eq!(generations.next(&name), 1);
        assert_eq!(generations.next(&name), 2);
        generations.saw(&name, 7);
        generations.saw(&name, 3);
        assert_eq!(generations.next(&name), 8);
    }

    #[test]
    fn forgetting_names_does_not_bring_their_generations_back() {
        let name = |i: usize| format!("s{i}").parse::<ReplicaName>().unwrap();
        let mut generations = Generations::default();
        generations.saw(&name(0), 41);
        for i in 1..3 * REMEMBERED {
            generations.next(&name(i));
            assert!(generations.newest.len() <= REMEMBERED);
        }
        assert!(generations.next(&name(0)) > 41);
        assert!(generations.next(&name(1)) > 1);
    }
}
