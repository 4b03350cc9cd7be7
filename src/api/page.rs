//! Lists that are read page by page.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ListPage<T> {
    /// What the list holds, in its order.
    pub items: Vec<T>,
    /// The value of `after` that asks for what follows; null at the list's end.
    pub next: Option<String>,
}

impl<T> ListPage<T> {
    /// The first `limit` of these; `cursor` is an item's value of `after`.
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let is_cut = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| is_cut).map(cursor);
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_what_follows_only_if_something_does() {
        let cut = |limit| ListPage::cut(vec![1, 2, 3], limit, i32::to_string);
        assert_eq!(cut(3).next, None);
        assert_eq!(cut(2).items, [1, 2]);
        assert_eq!(cut(2).next.as_deref(), Some("2"));
        assert_eq!(
            ListPage::cut(Vec::<i32>::new(), 1, i32::to_string).next,
            None
        );
    }
}
